"""How conversions have fared, from the runs of a store."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from almaflow.cli.history import history


def run(
    at: float, conversion: str, status: str = "ok", model: str = "m", **tags: str
) -> tuple[float, dict[str, str], dict[str, str]]:
    params = {"conversion": conversion, "model": model}
    return at, params, {"almaflow.status": status, "env.torch": "2.14", **tags}


def test_runs_are_counted_by_conversion_model_and_versions() -> None:
    onnx = {"almaflow.family": "onnx"}
    found = history(
        [
            run(1, "ONNX_CPU", **onnx, **{"env.onnxruntime": "1.30"}),
            run(3, "ONNX_CPU", **onnx, **{"env.onnxruntime": "1.31"}),
            run(2, "ONNX_CPU", "failed", **onnx, **{"env.onnxruntime": "1.30"}),
            run(1, "ONNX_CPU", model="other", **onnx, **{"env.onnxruntime": "1.30"}),
            run(1, "EAGER"),
        ]
    )
    assert [(each.conversion, each.model, each.versions, each.ok, each.failed) for each in found] == [
        ("EAGER", "m", "torch 2.14", 1, 0),
        ("ONNX_CPU", "m", "torch 2.14, onnxruntime 1.30", 1, 1),
        ("ONNX_CPU", "m", "torch 2.14, onnxruntime 1.31", 1, 0),
        ("ONNX_CPU", "other", "torch 2.14, onnxruntime 1.30", 1, 0),
    ]


def test_the_newest_run_says_whether_it_works_now() -> None:
    failed = {"almaflow.failure": "wrong_output", "almaflow.failure_message": "SQNR 3 dB"}
    mended = history([run(2, "X"), run(1, "X", "failed", **failed)])
    broken = history([run(1, "X"), run(2, "X", "failed", **failed)])
    assert (mended[0].why, mended[0].last_at) == (None, 2)
    assert broken[0].why == "wrong_output: SQNR 3 dB"


def test_what_cannot_run_says_why() -> None:
    (found,) = history(
        [run(1, "X", "unavailable", **{"almaflow.failure": "unsupported", "almaflow.unavailable": "no GPU"})]
    )
    assert (found.unavailable, found.why) == (1, "unsupported: no GPU")


@given(st.lists(st.tuples(st.sampled_from("XYZ"), st.sampled_from(["ok", "failed", "unavailable"]))))
def test_no_run_is_lost(made: list[tuple[str, str]]) -> None:
    found = history([run(i, name, status) for i, (name, status) in enumerate(made)])
    assert sum(each.ok + each.failed + each.unavailable for each in found) == len(made)
    assert [each.conversion for each in found] == sorted({name for name, _ in made})


def test_versions_of_a_model_are_told_apart() -> None:
    edited = {"almaflow.digest.code": "1"}
    found = history([run(1, "X", "failed"), run(2, "X", **edited), run(3, "X", **edited)])
    assert [(each.model, bool(each.model_digest), each.ok, each.failed) for each in found] == [
        ("m", False, 0, 1),
        ("m", True, 2, 0),
    ]
