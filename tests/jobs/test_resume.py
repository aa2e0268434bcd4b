"""Only what the store does not have is measured, and only what was measured in one go is compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import changed as changed_outcome
from tests.support.example_jobs import failed, in_rounds, job, ok, unavailable
from tests.support.stored_jobs import PLAN, PREPARED, new, stored

from almaflow.analysis import outcome_metrics
from almaflow.jobs.files import JobFiles
from almaflow.jobs.resume import Resumed, _as_asked, _to_evaluate, resume
from almaflow.jobs.sync import pending
from almaflow.records import EvaluateSpec, FailureKind, MeasureSpec, QualityDrop, Status
from almaflow.tracking.fingerprints import plan_fingerprint
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from almaflow.records import Job, Outcome

EAGER, ONNX, BROKEN = (
    in_rounds(ok("EAGER"), [20.0, 20.0]),
    in_rounds(ok("ONNX_CPU"), [10.0, 10.0]),
    failed("COMPILE_TVM"),
)
FULL = failed("COMPILE_TVM", FailureKind.MACHINE, message="[Errno 28] No space left on device")
INTERRUPTED = replace(BROKEN, failure=None, interrupted=True)


def left(resumed: Resumed) -> list[str]:
    return [each.name for each in resumed.to_measure]


def known(resumed: Resumed) -> list[str]:
    return [each.planned.name for each in resumed.job.outcomes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outcomes", "failures_only", "to_measure", "again"),
    [
        ((), False, ["EAGER", "ONNX_CPU", "COMPILE_TVM"], []),
        ((EAGER,), False, ["ONNX_CPU", "COMPILE_TVM"], ["EAGER"]),
        ((EAGER, ONNX, BROKEN), False, [], []),
        ((EAGER, ONNX, INTERRUPTED), False, ["COMPILE_TVM"], ["EAGER"]),
        ((EAGER, ONNX, FULL), False, ["COMPILE_TVM"], ["EAGER"]),
        ((EAGER, ONNX, BROKEN), True, ["COMPILE_TVM"], ["EAGER"]),
        ((EAGER, INTERRUPTED), True, ["COMPILE_TVM"], ["EAGER"]),
        ((EAGER, ONNX), True, [], []),
        ((EAGER, ONNX, unavailable("COMPILE_TVM")), False, [], []),
    ],
)
def test_the_rest_of_a_job(
    outcomes: tuple[Outcome, ...], failures_only: bool, to_measure: list[str], again: list[str]
) -> None:
    plan = PLAN
    if outcomes and outcomes[-1].planned.unavailable:
        plan = (*PLAN[:2], outcomes[-1].planned)
    earlier = stored("earlier", *outcomes, plan=plan)
    resumed = resume(new("later", plan), plan, resolve_uri(None), failures_only=failures_only)
    assert left(resumed) == to_measure
    assert [each.name for each in resumed.to_remeasure] == again
    assert known(resumed) == [each.planned.name for each in outcomes if each.planned.name not in to_measure]
    # It goes on as the same job, with the same runs.
    assert (resumed.job.job_id, resumed.job.run_id) == ("earlier", earlier.run_id)
    assert resumed.job.directory == earlier.directory
    run_ids = {each.planned.name: each.run_id for each in earlier.outcomes}
    assert all(each.run_id == run_ids[each.planned.name] for each in resumed.job.outcomes)
    assert {each.job_id for each in resumed.job.outcomes} <= {None}
    assert resumed.attempt == (1 if outcomes else 0)


@pytest.mark.slow
def test_an_interrupted_result_counts_only_where_there_is_no_other() -> None:
    cut_short = replace(EAGER, status=Status.FAILED, interrupted=True)
    stored("first", EAGER, replace(ONNX, status=Status.FAILED, interrupted=True))
    stored("second", cut_short, replace(ONNX, status=Status.FAILED, interrupted=True))
    resumed = resume(new("later"), PLAN, resolve_uri(None), failures_only=False)
    assert left(resumed) == ["ONNX_CPU", "COMPILE_TVM"]
    assert [(each.planned.name, each.job_id) for each in resumed.job.outcomes] == [("EAGER", "first")]


@pytest.mark.slow
def test_a_larger_job_takes_over_what_a_smaller_one_measured() -> None:
    earlier = stored("earlier", EAGER, plan=PLAN[:1])
    resumed = resume(new("later"), PLAN, resolve_uri(None), failures_only=False)
    assert (resumed.job.job_id, resumed.job.run_id) == ("later", None)
    assert left(resumed) == ["ONNX_CPU", "COMPILE_TVM"]
    (taken,) = resumed.job.outcomes
    assert (taken.job_id, taken.run_id) == ("earlier", earlier.outcomes[0].run_id)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"measure": MeasureSpec(min_samples=16)},
        {"environment": {"cpu": "Intel Xeon", "torch": "2.15.0"}},
        {"environment": {"cpu": "another", "torch": "2.14.1"}},
        {"experiment_name": "another"},
        {"evaluate": EvaluateSpec("figures")},
    ],
)
def test_what_was_measured_otherwise_is_measured_again(changed: dict[str, object]) -> None:
    stored("earlier", EAGER, ONNX, BROKEN)
    later = replace(new("later"), **changed)  # type: ignore[arg-type]  # fields of a job
    later = replace(later, plan_fingerprint=plan_fingerprint(later, PLAN))
    resumed = resume(later, PLAN, resolve_uri(None), failures_only=False)
    if "experiment_name" not in changed:
        assert (left(resumed), known(resumed)) == ([each.name for each in PLAN], [])
        assert resumed.job.job_id == "later"


@pytest.mark.slow
def test_what_could_not_be_evaluated_is_measured_again_where_an_evaluation_is_asked_for() -> None:
    made = replace(new("earlier"), evaluate=EvaluateSpec("figures"))
    made = replace(made, plan_fingerprint=plan_fingerprint(made, PLAN))
    stored("earlier", EAGER, changed_outcome(ONNX, quality_error="it raised"), BROKEN, made=made)
    for failures_only in (False, True):
        resumed = resume(replace(made, job_id="later"), PLAN, resolve_uri(None), failures_only=failures_only)
        assert left(resumed) == ["ONNX_CPU", "COMPILE_TVM"][: 1 + failures_only]
    without = resume(new("without"), PLAN, resolve_uri(None), failures_only=False)
    assert left(without) == []  # what was evaluated stands for a job that asks for no evaluation


def with_digests(job_id: str, **digests: str) -> Job:
    made = new(job_id)
    assert made.prepared is not None
    made = replace(made, prepared=replace(made.prepared, digests=digests))
    return replace(made, plan_fingerprint=plan_fingerprint(made, PLAN))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("earlier", "note"),
    [
        ({"code": "1", "weights": "1"}, None),
        ({"code": "2", "weights": "1"}, "results of resnet18 in the store are of another model (other code)"),
        ({"code": "2", "weights": "2"}, "results of resnet18 in the store are of another model (other code, weights)"),
        ({}, "2 results of an earlier version of almaflow do not say of which code, weights and inputs they are"),
    ],
)
def test_another_model_of_the_same_name_is_measured_again(earlier: dict[str, str], note: str | None) -> None:
    stored("earlier", EAGER, ONNX, made=with_digests("earlier", **earlier))
    resumed = resume(with_digests("later", code="1", weights="1"), PLAN, resolve_uri(None), failures_only=False)
    assert resumed.note == (f"{note}: measured again" if note else None)
    assert known(resumed) == ([] if note else ["EAGER", "ONNX_CPU"])
    assert resumed.job.job_id == ("later" if note else "earlier")


@pytest.mark.slow
def test_what_waits_on_disk_counts() -> None:
    """The job was killed before its results reached the store."""
    earlier = replace(new("earlier"), store=resolve_uri(None))
    files = JobFiles.of(earlier.directory)
    files.create()
    files.write_job(earlier)
    files.write_outcome(files.conversion_dir(0, EAGER.planned), EAGER)
    assert [job.job_id for _, job in pending()] == ["earlier"]
    resumed = resume(new("later"), PLAN, resolve_uri(None), failures_only=False)
    assert (resumed.job.job_id, known(resumed)) == ("earlier", ["EAGER"])
    assert list(pending()) == []
    files.write_job(earlier)  # as the job that goes on does
    assert [job.job_id for _, job in pending()] == ["earlier"]


def test_a_speedup_is_over_what_was_measured_in_one_go() -> None:
    """Eager took 20 ms at first and 30 when the job went on: the second part is compared with the second figure."""
    first = in_rounds(ok("ONNX_CPU"), [10.0, 10.0, 10.0])
    eager = in_rounds(ok("EAGER"), [20.0, 20.0, 20.0])
    again = _later(in_rounds(ok("EAGER"), [30.0, 30.0, 30.0]), 1)
    second = _later(in_rounds(ok("COMPILE_TVM"), [15.0, 15.0, 15.0]), 1)
    made = replace(job(eager, first, second), references=(again,))
    assert outcome_metrics(made, first)["speedup_vs_eager"] == pytest.approx(2)
    assert outcome_metrics(made, second)["speedup_vs_eager"] == pytest.approx(2)
    alone = replace(made, references=())
    assert "speedup_vs_eager" not in outcome_metrics(alone, second)


def _later(outcome: Outcome, attempt: int) -> Outcome:
    assert outcome.measurement is not None
    rounds = tuple(replace(each, replicate=attempt) for each in outcome.measurement.rounds)
    return replace(outcome, measurement=replace(outcome.measurement, rounds=rounds))


@pytest.mark.slow
def test_a_job_that_only_its_own_run_is_missing_of_is_closed() -> None:
    """It was killed after its last conversion: nothing is to be measured, and its run has to end as it should."""
    earlier = replace(new("earlier"), store=resolve_uri(None), outcomes=(EAGER, ONNX, BROKEN))
    files = JobFiles.of(earlier.directory)
    files.create()
    files.write_job(earlier)
    for index, outcome in enumerate(earlier.outcomes):
        files.write_outcome(files.conversion_dir(index, outcome.planned), outcome)
    resumed = resume(new("later"), PLAN, resolve_uri(None), failures_only=False)
    assert (left(resumed), resumed.needs_closing) == ([], True)
    stored("earlier-too", EAGER, plan=PLAN[:1])
    assert not resume(new("later", PLAN[:1]), PLAN[:1], resolve_uri(None), failures_only=False).needs_closing


@pytest.mark.parametrize(("digest", "again"), [("a", False), ("b", True), (None, False)])
def test_figures_of_other_samples_or_labels_are_taken_again(digest: str | None, *, again: bool) -> None:
    prepared = replace(PREPARED, quality_digest="a")
    made = replace(job(), evaluate=EvaluateSpec("figures"), prepared=prepared)
    known = changed_outcome(ONNX, quality={"top1": 0.5}, quality_digest=digest)
    assert _to_evaluate(made, known) is again
    assert not _to_evaluate(made, BROKEN)
    assert not _to_evaluate(replace(made, evaluate=None), known)


def test_figures_that_nobody_asked_for_are_not_shown() -> None:
    values = {"quality": {"top1": 0.5}, "quality_drops": {"top1": QualityDrop(0.1)}, "quality_samples": 5}
    known = changed_outcome(ONNX, **values, quality_digest="a", evaluate_s=3.0)
    assert _as_asked(job(), known) == ONNX
    asked = replace(job(), evaluate=EvaluateSpec("figures"))
    assert _as_asked(asked, known) == known
    assert _as_asked(job(), INTERRUPTED) == INTERRUPTED
