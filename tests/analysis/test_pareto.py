"""Who is on the Pareto front of latency, accuracy and size."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import changed, job, ok

from almaflow.analysis import analyse, to_output
from almaflow.analysis.output import completed
from almaflow.analysis.pareto import FIDELITY, accuracy_metric, front

made = st.lists(
    st.fixed_dictionaries(
        {
            "latency_ms": st.integers(1, 4).map(float),
            FIDELITY: st.none() | st.integers(1, 4).map(lambda tens: 10.0 * tens),
            "memory/model_mb": st.none() | st.integers(1, 4).map(float),
        }
    ),
    max_size=7,
)


@given(made)
def test_whoever_is_not_on_it_is_dominated_by_one_that_is_and_nobody_on_it_is(
    several: list[dict[str, float | None]],
) -> None:
    candidates = {f"C{number}": each for number, each in enumerate(several)}
    found = front(candidates)
    if len(several) < 2:
        assert found == []
        return

    def costs(name: str) -> list[float]:
        each = candidates[name]
        sqnr, size = each[FIDELITY], each["memory/model_mb"]
        worst = float("inf")
        return [each["latency_ms"] or 0, worst if sqnr is None else -sqnr, worst if size is None else size]

    def dominates(one: str, other: str) -> bool:
        pairs = list(zip(costs(one), costs(other), strict=True))
        return all(first <= second for first, second in pairs) and any(first < second for first, second in pairs)

    assert not any(dominates(one, other) for one, other in product(candidates, found))
    assert all(any(dominates(one, other) for one in found) for other in {*candidates} - {*found})
    assert [candidates[each]["latency_ms"] for each in found] == sorted(
        candidates[each]["latency_ms"] or 0 for each in found
    )


def test_quality_takes_the_place_of_fidelity_where_any_was_evaluated() -> None:
    candidates: dict[str, dict[str, float | None]] = {
        "EAGER": {"latency_ms": 9.0, FIDELITY: 200.0, "memory/model_mb": 47.0, "quality/top1": 0.75},
        "INT8": {
            "latency_ms": 3.0,
            FIDELITY: 29.0,
            "memory/model_mb": 12.0,
            "quality/samples": 500.0,
            "quality/top1_drop": -0.01,
            "quality/top1": 0.76,
        },
        "UNKNOWN": {"latency_ms": 2.0, FIDELITY: 30.0, "memory/model_mb": 47.0, "quality/top1": None},
    }
    assert accuracy_metric(candidates) == "quality/top1"
    assert front(candidates) == ["UNKNOWN", "INT8"]
    for each in candidates.values():
        each["quality/mse"] = each.pop("quality/top1")
    assert front(candidates) == ["UNKNOWN", "INT8", "EAGER"]


def test_small_differences_put_nobody_on_it_and_the_front_is_never_empty() -> None:
    def figures(latency_ms: float, sqnr_db: float, size: float) -> dict[str, float]:
        return {"latency_ms": latency_ms, FIDELITY: sqnr_db, "memory/model_mb": size}

    candidates = {"A": figures(10, 110, 47), "NEAR": figures(15, 110.9, 46.6), "FINER": figures(15, 111.5, 47)}
    assert front(candidates) == ["A", "FINER"]
    assert front({"A": figures(10, 110, 47), "ALIKE": figures(10.05, 110.5, 47)}) == ["A", "ALIKE"]
    # Each is better than the next in one by 1.5%, and worse than it in the others by less than 1%.
    circle = {"A": figures(1.0, 0, 1.0), "B": figures(1.015, 0.0, 0.992), "C": figures(1.007, 1.5, 1.005)}
    assert front(circle)


def test_a_job_has_it_and_a_result_of_an_older_almaflow_too() -> None:
    sized = (
        changed(ok(name, latency), model_mb=size) for name, latency, size in (("A", 5, 9), ("B", 7, 3), ("C", 8, 9))
    )
    made = job(*sized)
    assert analyse(made).pareto == ("A", "B")
    output = to_output(made)
    assert output["pareto"] == ["A", "B"]
    del output["pareto"]
    assert completed(output)["pareto"] == ["A", "B"]
    assert analyse(job(ok("EAGER"))).pareto == ()
