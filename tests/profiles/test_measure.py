from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import failed, job, ok
from tests.support.made_profiles import write_profile

from almaflow.errors import AlmaflowError, TrackingError, UsageError
from almaflow.profiles import measure, track
from almaflow.profiles.measure import measure_profile
from almaflow.profiles.report import ProfileReport
from almaflow.records import FailureKind, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.profiles.files import MeasuredFiles
    from almaflow.records import Job, ModelSpec, Outcome

MEASURED_AT = 1e12
"""Later than any clock says: outcomes that end then are of this measuring."""


class FakeJobs:
    """Answers with made outcomes for each segment, and keeps which were asked for."""

    experiment_name = "almaflow"
    uri = "sqlite:///nowhere.db"

    def __init__(self, **outcomes: list[Outcome] | AlmaflowError) -> None:
        self.asked: list[ModelSpec] = []
        self.earlier: list[str | None] = []
        self.outcomes = outcomes
        self.after: Callable[[Job], Job] = lambda made: made

    def run(self, model: ModelSpec, earlier: str | None = None) -> Job:
        self.asked.append(model)
        self.earlier.append(earlier)
        assert model.segment is not None
        made = self.outcomes.get(model.segment.segment_id, [ok("EAGER", 1.0), ok("ONNX_CPU", 0.5)])
        if isinstance(made, AlmaflowError):
            raise made
        return self.after(job(*(replace(each, ended_at=MEASURED_AT) for each in made)))


@pytest.fixture(autouse=True)
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[MeasuredFiles]:
    """The sessions that went to the store."""
    found: list[MeasuredFiles] = []
    monkeypatch.setattr(measure, "track", lambda files, _uri: found.append(files))
    return found


def test_segments_are_jobs_the_largest_first_and_each_figure_is_kept() -> None:
    files = write_profile("ab", "aab", times_ms={"a": 2.0, "b": 9.0})
    jobs, told = FakeJobs(), list[str]()
    results = measure_profile("made", jobs, tell=told.append)
    models = {each.segment.segment_id: each for each in jobs.asked if each.segment}
    assert [*models] == ["b", "a"]
    assert models["a"].name == "segment_a"
    assert models["a"].batch_dim is None
    assert str(models["a"].pickle_path).endswith("made/segments/a/model.pkl")
    assert models["a"].segment is not None
    assert (models["a"].segment.calls, models["a"].segment.location) == (3, "app.py:10")
    assert files.results() == results
    assert [(each.segment_id, each.conversion, each.latency_ms) for each in results.figures] == [
        ("b", "ONNX_CPU", 0.5),
        ("b", "EAGER", 1.0),
        ("a", "ONNX_CPU", 0.5),
        ("a", "EAGER", 1.0),
    ]
    assert told[0] == "segment 1 of 2, app.py:11: ONNX_CPU 0.5 ms, EAGER 1 ms"
    assert told[-1].startswith("measured 2 of 2 segments")
    assert results.ended_at is not None


def test_what_another_job_measured_is_taken() -> None:
    write_profile("a")
    jobs, told = FakeJobs(), list[str]()
    jobs.after = lambda made: replace(made, outcomes=tuple(replace(each, ended_at=1.0) for each in made.outcomes))
    measure_profile("made", jobs, tell=told.append)
    assert told[-1].startswith("measured 0 of 1 segments")


def test_a_conversion_that_fails_on_one_segment_leaves_the_others() -> None:
    write_profile("abc", "abc", "abc")
    broken = failed("ONNX_CPU", FailureKind.CRASHED, message="killed by SIGSEGV")
    results = measure_profile("made", FakeJobs(b=[ok("EAGER", 1.0), broken]))
    bad = next(each for each in results.figures if each.segment_id == "b" and each.conversion == "ONNX_CPU")
    assert (bad.status, bad.failure, bad.latency_ms) == (Status.FAILED, FailureKind.CRASHED, None)
    report = ProfileReport.of("made")
    assert report.best()["segments"] == {"a": "ONNX_CPU", "b": "EAGER", "c": "ONNX_CPU"}
    frame = report.to_frame().set_index("conversion")
    assert frame.loc["ONNX_CPU", "failures"] == 1
    assert list(frame["ms"].dropna()) == pytest.approx([7.0, 8.0])


def test_a_segment_that_does_not_run_counts_as_it_was_recorded() -> None:
    write_profile("ab", "ab", "ab")
    results = measure_profile("made", FakeJobs(a=UsageError("the model does not run")))
    assert results.counted_as_eager == {"a": "the model does not run"}
    assert ProfileReport.of("made").to_dict()["functions"][0]["totals"][0]["ms"] == pytest.approx(6.5)


def test_a_store_that_is_gone_ends_it_and_what_was_measured_is_kept() -> None:
    files = write_profile("ab", times_ms={"a": 9.0})
    with pytest.raises(TrackingError):
        measure_profile("made", FakeJobs(b=TrackingError("no answer")))
    assert {each.segment_id for each in files.results().figures} == {"a"}


def test_an_interrupt_keeps_what_was_measured(tracked: list[MeasuredFiles]) -> None:
    files = write_profile("ab")
    jobs = FakeJobs()
    jobs.after = lambda made: replace(made, interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        measure_profile("made", jobs)
    assert len(jobs.asked) == 1
    assert len(files.results().figures) == 2
    assert tracked == []


def test_the_time_budget_leaves_the_tail_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    write_profile("abc", times_ms={"a": 90.0, "b": 8.0, "c": 2.0})
    times = iter([0.0, 1.0, 99.0, 99.0])
    monkeypatch.setattr(measure, "now", lambda: next(times))
    jobs, told = FakeJobs(), list[str]()
    results = measure_profile("made", jobs, time_budget_s=10, tell=told.append)
    assert len(jobs.asked) == 1
    assert results.counted_as_eager == dict.fromkeys("bc", "the time budget of 10 s")
    assert told[-2] == "2 of 3 segments left: the time budget of 10 s is spent"
    assert ProfileReport.of("made").data["covered_pct"] == pytest.approx(90.0)


def test_measured_again_in_another_conversion_the_first_figures_stay() -> None:
    write_profile("a")
    measure_profile("made", FakeJobs())
    again = FakeJobs(a=[ok("EAGER", 1.1), ok("COMPILE_OPENVINO", 0.4)])
    results = measure_profile("made", again)
    assert again.earlier == ["j1"]
    assert {each.conversion: each.latency_ms for each in results.figures} == {
        "EAGER": 1.1,
        "ONNX_CPU": 0.5,
        "COMPILE_OPENVINO": 0.4,
    }


def test_figures_of_other_threads_than_the_newest_are_left_out_and_told() -> None:
    write_profile("ab", "ab", "ab")
    measure_profile("made", FakeJobs())
    again = FakeJobs(a=[ok("EAGER", 3.0)], b=[ok("EAGER", 3.0)])
    again.after = lambda made: replace(made, hardware=replace(made.hardware, threads=7))
    results = measure_profile("made", again)
    assert len(results.figures) == 4
    data = ProfileReport.of("made").to_dict()
    assert {each["conversion"]: each["ms"] for each in data["functions"][0]["totals"]} == {"best": 11.0, "EAGER": 11.0}
    (note,) = data["notes"]
    assert note == (
        "ONNX_CPU: 2 figures left out, measured with other versions, threads or on another processor than the newest "
        "ones: almaflow profile measure made local/ONNX_CPU"
    )
    measure_profile("made", FakeJobs())
    assert ProfileReport.of("made").data["notes"] == []


def test_many_sizes_of_a_family_are_few_jobs() -> None:
    names = [f"a{number:02}" for number in range(1, 31)]
    write_profile(names)
    jobs = FakeJobs()
    measure_profile("made", jobs)
    assert len(jobs.asked) == 6


def test_an_unknown_profile_is_one_line() -> None:
    write_profile("a")
    with pytest.raises(UsageError, match=r"other: no such profile in .*; the newest: made"):
        measure_profile("other", FakeJobs())


def test_a_profile_is_measured_by_one_process_at_a_time() -> None:
    files = write_profile("a")
    with files.locked(), pytest.raises(AlmaflowError, match="is being measured"):
        measure_profile("made", FakeJobs())


def test_the_store_lacks_what_was_measured_until_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_profile("a")

    def refuse(*_: object) -> None:
        message = "the store is down"
        raise TrackingError(message)

    monkeypatch.setattr(measure, "track", refuse)
    told = list[str]()
    assert not measure_profile("made", FakeJobs(), tell=told.append).tracked
    assert told[-1] == "the store is down"
    assert [each.recorded.root for each in track.untracked(FakeJobs.uri)] == [files.recorded.root]
    assert list(track.untracked("sqlite:///another.db")) == []
