"""A conversion at sizes other than the example's: it is checked there before it is timed, and timed where asked."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import planned
from tests.support.minimal_task import LINEAR, Events, TurnInbox, do_prepare, make_task

from almaflow.errors import UsageError
from almaflow.records import Axis, DynamicDim, FailureKind, ModelSpec
from almaflow.worker.failures import FixedSizeError, WrongOutputError, classify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.records import Measurement

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds

DYNAMIC = replace(LINEAR, dynamic=(DynamicDim("batch", 1, 8),))
SIZED = replace(DYNAMIC, sizes=({"batch": 1}, {"batch": 8}))


def run(
    tmp_path: Path, model: ModelSpec = SIZED, forward: Callable[..., Any] | None = None, replicate: int = 0
) -> tuple[list[Measurement], Events, Exception | None]:
    """Prepare and run one eager conversion; ``forward`` takes eager's call and the input in place of that call."""
    from almaflow.worker import conversion as steps

    task = make_task(tmp_path, model, min_samples=27, min_time_s=0.0, warmup_calls=1, warmup_time_s=0.0)
    task = replace(task, conversion=planned(), weights_digest=do_prepare(task).weights_digest, replicate=replicate)
    kept: list[Measurement] = []
    events, build = Events(), vars(steps)["build"]

    def changed(*given: Any) -> ConvertedModel:
        made: ConvertedModel = build(*given)
        eager = made.built.forward
        return replace(made, built=replace(made.built, forward=lambda x: forward(eager, x) if forward else eager(x)))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steps, "build", changed)
        try:
            steps.run_conversion(task, events, TurnInbox(2, first=0), time.perf_counter(), kept.append)  # type: ignore[arg-type]
        except (WrongOutputError, FixedSizeError) as error:
            return kept, events, error
    return kept, events, None


def test_each_size_is_timed_and_compared_and_the_main_figures_are_the_examples(tmp_path: Path) -> None:
    kept, events, error = run(tmp_path)
    assert error is None
    last = kept[-1]
    assert [each.size for each in last.sizes] == [{"batch": 1}, {"batch": 8}]
    assert [len(each.samples_ms) for each in last.sizes] == [9, 9]  # three of nine rounds each
    assert all(each.sqnr_db is not None and each.sqnr_db > 100 and each.recompiles is None for each in last.sizes)
    assert (last.batch_size, len(last.rounds)) == (2, 2)
    # They are timed after the first round and before it is told of, when nobody else has a turn.
    told = [(phase, report is not None) for phase, report in events.told]
    assert [phase for phase, _ in told].count("warm-up") == 3
    assert told.index(("ready", True)) > max(at for at, (phase, _) in enumerate(told) if phase == "warm-up")


def test_without_sizes_one_other_is_compared_and_none_is_timed(tmp_path: Path) -> None:
    sizes: set[int] = set()

    def seen(eager: Callable[..., Any], x: Any) -> Any:
        sizes.add(len(x))
        return eager(x)

    kept, _, error = run(tmp_path, DYNAMIC, seen)
    assert (error, kept[-1].sizes) == (None, ())
    assert sizes == {2, 4}


def test_a_further_process_compares_and_times_no_sizes(tmp_path: Path) -> None:
    kept, events, error = run(tmp_path, replicate=1)
    assert (error, kept[-1].sizes) == (None, ())
    assert events.phases.count("warm-up") == 1


def test_a_dimension_that_no_given_size_changes_is_compared_and_not_timed(tmp_path: Path) -> None:
    _, _, error = run(tmp_path, replace(DYNAMIC, sizes=({"batch": 2},)), lambda eager, x: eager(x) * (2 / len(x)))
    assert isinstance(error, WrongOutputError)
    assert str(error).startswith("right at the size of the example, and wrong at batch 4: ")


def test_an_answer_that_is_right_at_the_examples_size_only_is_wrong(tmp_path: Path) -> None:
    kept, _, error = run(tmp_path, SIZED, lambda eager, x: eager(x) * (2 / len(x)))
    assert isinstance(error, WrongOutputError)
    assert str(error).startswith("right at the size of the example, and wrong at batch 1: ")
    assert classify(error, "check").kind is FailureKind.WRONG_OUTPUT
    assert kept[-1].fidelity is not None
    assert kept[-1].fidelity.ok
    assert kept[-1].sizes == ()
    assert len(kept[-1].rounds) == 1


def test_one_that_takes_the_examples_size_only_is_unsupported_with_the_reason(tmp_path: Path) -> None:
    _, _, error = run(tmp_path, SIZED, lambda eager, x: eager(x.reshape(2, 6)))
    assert isinstance(error, FixedSizeError)
    failure = classify(error, "check")
    assert failure.kind is FailureKind.UNSUPPORTED
    assert "right at the size of the example, and fails at batch 1: RuntimeError: shape '[2, 6]'" in failure.message


def test_no_memory_for_a_larger_size_is_told_as_such(tmp_path: Path) -> None:
    def forward(eager: Callable[..., Any], x: Any) -> Any:
        if len(x) > 2:
            message = "no room"
            raise MemoryError(message)
        return eager(x)

    _, _, error = run(tmp_path, SIZED, forward)
    assert error is not None
    assert classify(error, "check").kind is FailureKind.OUT_OF_MEMORY


@pytest.mark.parametrize(("model", "line"), [
    (replace(SIZED, dynamic=(DynamicDim("width", axes=(Axis("0", 1),)),), sizes=({"width": 5},)),
     "model.dynamic: the model does not run on inputs of shape (2, 5) float32"),
    (replace(DYNAMIC, dynamic=(DynamicDim("width", axes=(Axis("x", 1),)),)),
     "model.dynamic_axes: no input is called x; they are: input"),
])  # fmt: skip
def test_what_the_model_itself_cannot_do_is_told_before_anything_is_converted(
    tmp_path: Path, model: ModelSpec, line: str
) -> None:
    with pytest.raises(UsageError) as refused:
        do_prepare(make_task(tmp_path, model))
    assert str(refused.value).startswith(line)
