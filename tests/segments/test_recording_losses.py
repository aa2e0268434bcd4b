"""What is lost or goes wrong while a session records: each is told, and the application goes on."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.support.recordings import alone, calls_of

from almaflow.segments.accelerate import accelerate
from almaflow.segments.session import ProfilingSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records.profile import Profile

pytestmark = pytest.mark.slow


def test_a_loop_that_breaks_is_named_with_what_to_do(record: Callable[..., Profile]) -> None:
    @accelerate
    def search(x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = x + 1
            torch._dynamo.graph_break()
        return x

    profile = record(lambda: [search(torch.ones(3)) for _ in range(2)])
    assert profile.functions[0].uncaptured == (0, 1)
    (lost,) = profile.lost
    assert (lost.kind, lost.frame, lost.first_call) == ("loop", "search", 0)
    assert lost.file == __file__
    assert lost.break_line is not None
    assert lost.break_line > lost.line
    assert lost.advice.startswith(f"the loop in search breaks in {Path(__file__).name}:{lost.break_line}: move ")
    assert profile.notes == (
        f"{profile.functions[0].name}: no graph in any of its calls; decorate the function that runs the model",
    )


def test_more_kinds_of_inputs_than_pytorch_follows_are_named(record: Callable[..., Profile]) -> None:
    @accelerate
    def total(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(parts).sum()

    profile = record(lambda: [total([torch.ones(2)] * length) for length in range(1, 101)], recompile_limit=3)
    (lost,) = profile.lost
    assert (lost.kind, lost.frame, lost.first_call) == ("limit", "total", 3)
    assert "dynamic=True" in lost.advice
    assert profile.functions[0].uncaptured == tuple(range(3, 100))
    assert torch._dynamo.config.recompile_limit != 3


def test_an_exception_of_the_application_is_passed_on_and_the_rest_is_kept(tmp_path: Path) -> None:
    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        if len(x) == 4:
            message = "four"
            raise KeyError(message)
        return y @ torch.ones(3)

    session = ProfilingSession((), home=tmp_path, measure=lambda *_: pytest.fail("measured"))

    def application() -> None:
        with session:
            predict(torch.ones(3))
            with pytest.raises(KeyError, match="four"):
                predict(torch.ones(4))
            predict(torch.ones(3))
            predict(torch.ones(5))

    with pytest.raises(RuntimeError, match=r"size mismatch|inconsistent tensor size"):
        application()
    profile = session.files.read()
    assert [call.raised for call in calls_of(session)] == [None, "KeyError", None, "RuntimeError"]
    assert profile.error is not None
    assert profile.error.startswith("RuntimeError: ")
    assert profile.segments


def test_a_full_disk_ends_the_keeping_and_not_the_application(
    record: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    answers: list[torch.Tensor] = []
    monkeypatch.setattr(torch, "save", full)
    profile = record(lambda: answers.extend(alone(torch.zeros(2)) for _ in range(3)))
    assert [each.tolist() for each in answers] == [[1.0, 1.0]] * 3
    (segment,) = profile.segments
    assert (segment.calls, segment.batches) == (3, 0)
    (note,) = profile.notes
    assert note.endswith("No space left on device: what is recorded from here on is not kept")


def test_a_graph_that_cannot_be_measured_apart_runs_and_says_why(
    record: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    @accelerate
    def length(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(3) + x.dim()

    def broken(*_: object) -> None:
        message = "no such graph"
        raise LookupError(message)

    answers: list[torch.Tensor] = []
    (segment,) = record(lambda: answers.append(length(torch.zeros(2)))).segments
    assert (segment.unmeasurable, segment.batches) == ("it takes no tensor", 0)
    monkeypatch.setattr("almaflow.segments.recorder.standalone", broken)
    (segment,) = record(lambda: answers.append(length(torch.zeros(2)))).segments
    assert segment.unmeasurable == "it could not be recorded (LookupError: no such graph)"
    assert [each.tolist() for each in answers] == [[1.0] * 3] * 2


@pytest.mark.parametrize(("code", "error"), [(None, None), (0, None), (3, "SystemExit: 3"), ("no", "SystemExit: no")])
def test_an_application_that_exits_well_is_measured(tmp_path: Path, code: Any, error: str | None) -> None:
    measured: list[Path] = []
    session = ProfilingSession((), home=tmp_path, measure=lambda root, _: measured.append(root))

    def application() -> None:
        with session:
            alone(torch.ones(2))
            raise SystemExit(code)

    with pytest.raises(SystemExit):
        application()
    assert session.files.read().error == error
    assert len(measured) == (error is None)


def test_what_pytorch_warns_of_during_recording_is_told_by_the_report_alone(record: Callable[..., Profile]) -> None:
    from torch._dynamo.variables import tensor

    heard: list[str] = []
    handler = logging.Handler()
    handler.addFilter(lambda told: heard.append(told.getMessage()))  # type: ignore[arg-type,return-value]
    warns: Any = tensor.TensorVariable._warn_capture_scalar_outputs
    warns.cache_clear()  # it warns once in a process
    tensor.log.addHandler(handler)
    try:
        profile = record(lambda: accelerate(lambda x: x * x.sum().item())(torch.ones(2)))
        assert heard == []
        assert len([each for each in profile.segments if each.break_reason]) == 1
        tensor.log.warning("another")
        assert heard == ["another"]
    finally:
        tensor.log.removeHandler(handler)
