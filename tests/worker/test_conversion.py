"""One conversion from start to end in this process: its phases, its rounds, and how it is found out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import planned
from tests.support.minimal_task import LINEAR, Conversion, Events, TurnInbox, do_prepare, make_task

from almaflow.records import EvaluateSpec, InputSpec, ModelSpec, TargetSpec
from almaflow.worker.failures import FellBackError, WrongOutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.records import Measurement

LABELLED = "tests.support.labelled_loaders"
DIGITS = ModelSpec(
    "digits",
    target=f"{LABELLED}.Classifier",
    data_loader=TargetSpec(f"{LABELLED}.digits"),
    batch_size=2,
)

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


@dataclass
class Done:
    """What a conversion in this process told and kept, and what it raised."""

    events: Events
    turns: TurnInbox
    kept: list[Measurement]
    error: Exception | None


def convert(
    tmp_path: Path,
    turns: int = 0,
    changed: Callable[[ConvertedModel], Any] = lambda converted: converted,
    evaluate: str | None = None,
    **measure: Any,
) -> Done:
    """Prepare and run one eager conversion of ``LINEAR``, changed by the test."""
    import time

    from almaflow.worker import conversion as steps

    settings = {"min_samples": 27, "min_time_s": 0.0, "warmup_calls": 1, "warmup_time_s": 0.0, **measure}
    task = make_task(tmp_path, DIGITS if evaluate else LINEAR, **settings)
    task = replace(task, evaluate=EvaluateSpec(evaluate) if evaluate else None)
    digest = do_prepare(task).weights_digest
    done = Done(Events(), TurnInbox(turns + 1, first=0), [], None)
    task = replace(task, conversion=planned(), weights_digest=digest, replicate=5)
    build = vars(steps)["build"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steps, "build", lambda *given: changed(build(*given)))
        try:
            steps.run_conversion(task, done.events, done.turns, time.perf_counter(), done.kept.append)  # type: ignore[arg-type]
        except (FellBackError, WrongOutputError) as error:
            done.error = error
    return done


BEFORE_ROUNDS = ["convert", "first call", "check", "prepared", "warm-up", "measure"]


@pytest.mark.parametrize("streams", [1, 2])
def test_a_conversion_warms_up_for_its_first_round_and_takes_those_that_it_is_asked_for(
    tmp_path: Path, streams: int
) -> None:
    done = convert(tmp_path, turns=2, streams=streams)
    assert done.error is None
    assert done.events.phases[:11] == [*BEFORE_ROUNDS, "ready", *["measure", "ready"] * 2]
    assert done.turns.asked == 4
    checked, warm, *_, last = done.kept
    assert checked.fidelity is not None
    assert checked.fidelity.ok
    assert (checked.samples_ms, checked.rounds) == ((), ())
    # The rounds between are in the file of rounds, and the measurement as a whole is written when they are over.
    assert [len(each.rounds) for each in done.kept[:3]] == [0, 1, 3]
    assert [each.index for each in last.rounds] == [0, 1, 2]
    assert {each.replicate for each in last.rounds} == {5}
    assert warm.samples_ms == last.samples_ms[: warm.rounds[0].count]
    assert sum(each.count for each in last.rounds) == len(last.samples_ms)
    reports = done.events.reports
    assert [(report.count, report.wall_s) for report in reports] == [(each.count, each.wall_s) for each in last.rounds]
    if streams == 1:
        assert [each.count for each in last.rounds] == [3, 3, 3]
    assert all(each.control_ms > 0 and each.wall_s > 0 and each.started_at > 1e9 for each in last.rounds)
    assert last.warmup_calls >= 10
    assert checked.total_s < warm.total_s < last.total_s


def test_what_is_kept_after_many_rounds_is_all_of_them(tmp_path: Path) -> None:
    done = convert(tmp_path, turns=12)
    counts = [len(each.rounds) for each in done.kept]
    assert counts == sorted(counts)
    assert counts[-1] == 13
    assert [each.index for each in done.kept[-1].rounds] == list(range(13))
    assert done.kept[-1].device_samples_ms == ()


@pytest.mark.parametrize(
    ("spoil", "checked"),
    [
        (lambda c: replace(c, built=replace(c.built, forward=lambda x: -c.built.forward(x))), True),
        (lambda c: replace(c, built=replace(c.built, forward=lambda _: "text")), False),
    ],
    ids=["another answer", "no tensor"],
)
def test_a_wrong_answer_is_timed_by_one_round_and_then_raised(
    tmp_path: Path, spoil: Callable[[ConvertedModel], ConvertedModel], checked: bool
) -> None:
    done = convert(tmp_path, 5, spoil)
    assert isinstance(done.error, WrongOutputError)
    assert done.events.phases == [*BEFORE_ROUNDS, "check"]  # it is never ready, and says where it failed
    assert done.turns.asked == 1
    last = done.kept[-1]
    (only,) = last.rounds
    assert len(last.samples_ms) == only.count == 3
    assert (last.fidelity is not None) == checked
    assert not (last.fidelity and last.fidelity.ok)


class Falling(Conversion):
    """A converted model that something else runs after so many calls."""

    def __init__(self, converted: ConvertedModel, after: int) -> None:
        super().__init__([])
        self._converted = converted
        self._left = after

    def call(self, batch: Any) -> object:
        self._left -= 1
        return self._converted.call(batch)

    def evidence(self) -> object:
        from almaflow.conversions.built.evidence import ExecutionEvidence

        return ExecutionEvidence(fell_back="eager ran it" if self._left < 0 else None)


def test_a_runtime_that_falls_back_before_or_while_it_is_timed_is_found_out(tmp_path: Path) -> None:
    done = convert(tmp_path, 4, lambda converted: Falling(converted, after=0))
    assert isinstance(done.error, FellBackError)
    assert len(done.kept[-1].rounds) == 1
    assert done.turns.asked == 1
    done = convert(tmp_path, 4, lambda converted: Falling(converted, after=20))
    assert isinstance(done.error, FellBackError)
    assert len(done.kept[-1].rounds) == 5  # all that it was asked for, for diagnosis
    assert done.events.phases[-1] == "check"


def test_a_model_with_other_weights_each_time_is_a_wrong_output_before_anything_is_converted(tmp_path: Path) -> None:
    from almaflow.worker.conversion import run_conversion

    task = make_task(tmp_path)
    do_prepare(task)
    events = Events()
    with pytest.raises(WrongOutputError, match="seed it"):
        run_conversion(
            replace(task, conversion=planned(), weights_digest="other"),
            events,  # type: ignore[arg-type]
            TurnInbox(),  # type: ignore[arg-type]
            0.0,
            lambda _: None,
        )
    assert events.phases == []


def test_code_that_is_edited_while_the_job_runs_is_not_measured(tmp_path: Path) -> None:
    from almaflow.worker.conversion import run_conversion

    model = replace(LINEAR, target="tests.support.own_models.Identified", kwargs={}, inputs=(InputSpec((4,)),))
    task = make_task(tmp_path, model)
    prepared = do_prepare(task)
    module = "tests.support.own_models"
    assert module in prepared.sources
    task = replace(task, conversion=planned(), weights_digest=prepared.weights_digest)
    with pytest.raises(WrongOutputError, match=f"code changed while the job ran: {module}; run the job again"):
        run_conversion(
            replace(task, sources=prepared.sources | {module: "as it was"}),
            Events(),  # type: ignore[arg-type]
            TurnInbox(),  # type: ignore[arg-type]
            0.0,
            lambda _: None,
        )


def test_a_conversion_is_evaluated_when_nothing_is_timed_any_more(tmp_path: Path) -> None:
    done = convert(tmp_path, turns=1, evaluate="almaflow.worker.evaluations.top1")
    assert done.error is None
    assert done.events.phases[-2:] == ["check", "evaluate"]
    last = done.kept[-1]
    assert last.quality_error is None
    assert last.quality == {"top1": pytest.approx(5 / 7)}
    assert last.quality_drops["top1"].value == 0.0
    assert last.quality_samples == 7
    assert last.evaluate_s is not None
    assert done.kept[-2].quality == {}  # what was timed is kept before
    assert len(last.rounds) == len(done.kept[-2].rounds) == 2


def test_an_evaluation_that_fails_leaves_the_measurement(tmp_path: Path) -> None:
    done = convert(tmp_path, turns=1, evaluate=f"{LABELLED}.tired")
    assert done.error is None
    last = done.kept[-1]
    assert last.quality_error == f"evaluate._target_={LABELLED}.tired: raised RuntimeError: no more than 4 batches"
    assert (last.quality, last.quality_drops, last.quality_samples) == ({}, {}, None)
    assert len(last.rounds) == 2
    assert last.fidelity is not None
    assert last.fidelity.ok
