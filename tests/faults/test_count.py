"""The count finds what it is there to find, and a product that is wrong on purpose does not get past it."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults import schedules
from tests.faults.commands import ENDS_WITHIN_S
from tests.faults.count import Count, Result, Run, shown_of_other_model, version_of
from tests.faults.inject import Fault
from tests.faults.place import SLEEPS_MS
from tests.faults.points import POINTS
from tests.faults.scenario import ended_with
from tests.faults.schedules import Schedule, run_schedules

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.commands import Zygote
    from tests.faults.place import Place

KEPT = Result("job", "EAGER", 1000, "ok", interrupted=False, samples_ms=(1.0, 1.1, 1.2, 1.3, 1.4), waits=False)


def run(**more: object) -> Run:
    facts = {"run_id": "a", "kind": "conversion", "status": "FINISHED", "active": True, "started_ms": 1000}
    tags = {"almaflow.job_id": "job", "almaflow.logical_key": "job/EAGER"}
    facts |= {"ended": True, "tags": tags, "params": {"conversion": "EAGER"}, "metrics": {"latency_ms": 1.2}}
    return Run(**(facts | more))  # type: ignore[arg-type]


def test_a_whole_store_has_nothing_wrong() -> None:
    assert Count((KEPT,), (run(),)).after_sync() == []


@pytest.mark.parametrize(
    ("kept", "runs", "word"),
    [
        (KEPT, [], "lost"),
        (KEPT, [run(active=False)], "lost"),
        (KEPT, [run(), run(run_id="b")], "doubled"),
        (KEPT, [run(), run(run_id="b", started_ms=2000)], "doubled"),
        (KEPT, [run(), run(run_id="b", tags={"almaflow.job_id": "job", "almaflow.logical_key": "another"})], "doubled"),
        (KEPT, [run(metrics={"latency_ms": 7.0})], "other figures"),
        (KEPT, [run(metrics={})], "without figures"),
        (KEPT, [run(), run(run_id="b", kind="job", status="RUNNING", tags={})], "runs for ever"),
    ],
)
def test_what_is_wrong_is_found(kept: Result, runs: list[Run], word: str) -> None:
    assert any(word in line for line in Count((kept,), tuple(runs)).after_sync())


def test_an_interrupted_measurement_does_not_count() -> None:
    cut = Result("job", "EAGER", 1000, "failed", interrupted=True, samples_ms=KEPT.samples_ms, waits=False)
    wrong = Count((cut,), (run(),)).at_any_time()
    assert [line.partition(":")[0] for line in wrong] == [
        "counted as done",
        "not KILLED",
        "interrupted with a headline",
    ]


def test_versions_are_told_apart_by_the_quickest_call() -> None:
    for version, sleep in SLEEPS_MS.items():
        assert version_of([sleep * 1.05, sleep * 30, sleep * 1.02, sleep * 2]) == version
    assert version_of([1.0]) is None
    output = {"conversions": [{"conversion": "EAGER", "status": "ok", "latency_ms": 1.2}]}
    assert shown_of_other_model(output, Count((KEPT,), ()), 1) == []
    assert shown_of_other_model(output, Count((KEPT,), ()), 2)
    assert shown_of_other_model(output, Count((), ()), 1)


def test_a_result_that_vanishes_from_disk_and_store_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [Count((KEPT,), ()), Count((), (run(),)), Count((), ())]
    monkeypatch.setattr(schedules, "holds", lambda _: counts.pop(0))
    schedule = object.__new__(Schedule)
    schedule.place, schedule.measured, schedule.excused = Any, set(), set()  # type: ignore[assignment]
    schedule._count()
    schedule._count()
    with pytest.raises(AssertionError, match="lost, on disk and in the store"):
        schedule._count()


@pytest.mark.slow
def test_every_point_exists_and_is_reached(place: Place) -> None:
    reached = set(ended_with(place.run("-m", "batch_size=1,2"), 0).reached)
    ended = place.run(faults=(Fault("signal", "after create run", 2),))
    assert ended.code == -signal.SIGKILL
    reached |= set(ended_with(place.resume(), 0).reached)
    assert set(POINTS) - reached == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "word"),
    [("almaflow.jobs.files:JobFiles.outcomes", "lost"), ("almaflow.tracking.replay:search", "doubled")],
)
def test_a_product_that_loses_or_doubles_a_result_is_found(
    target: str, word: str, zygote: Zygote, template: Path, tmp_path: Path
) -> None:
    schedule = Schedule(zygote, tmp_path / "place", template)
    schedule.do("broken", False, "SIGKILL", "before conversion logged", 2)
    schedule.place.always = (Fault("blind", "start", target=target),)
    with pytest.raises(AssertionError, match=f"(?s){word}.*repeat it: .*before conversion logged"):
        schedule.do("sync")
    schedule.end()


@pytest.mark.slow
def test_a_process_that_is_left_is_found(place: Place) -> None:
    assert ENDS_WITHIN_S > 5
    command = place.start("hardware", faults=(Fault("helper", "start"),))
    assert command.end().left == ("helper",)


@pytest.mark.slow
def test_mlflow_counts_the_same(place: Place) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    ended_with(place.run(), 0)
    counted = Count.of(place.home, place.store)
    with closing(sqlite3.connect(place.database)) as store:
        store.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", [counted.conversions[0].run_id])
        store.commit()
    client = MlflowClient(f"sqlite:///{place.database}")
    names = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
    found = client.search_runs(names, run_view_type=ViewType.ALL)
    ours = Count.of(place.home, place.store).in_store
    assert {run.info.run_id: run.info.lifecycle_stage == "active" for run in found} == {
        run.run_id: run.active for run in ours
    }
    for each in found:
        (mine,) = [run for run in ours if run.run_id == each.info.run_id]
        assert (mine.status, mine.started_ms, mine.params) == (
            each.info.status,
            each.info.start_time,
            each.data.params,
        )
        assert mine.metrics == pytest.approx(each.data.metrics)


@pytest.mark.slow
def test_random_schedules_hold(zygote: Zygote, tmp_path: Path) -> None:
    assert run_schedules(zygote, tmp_path, 2, steps=2, number=1) == []
