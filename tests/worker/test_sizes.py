"""A conversion at sizes other than the example's: it is checked there before it is timed, and timed where asked."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.minimal_task import do_prepare, make_task
from tests.support.sized_runs import DYNAMIC, SIZED, run

from almaflow.errors import UsageError
from almaflow.records import Axis, DynamicDim, FailureKind, MeasureSpec
from almaflow.worker.failures import FixedSizeError, WrongOutputError, classify
from almaflow.worker.sizes import rounds_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.records import ModelSpec

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


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


def test_further_rounds_are_taken_while_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class TenCalls:
        def __init__(self, *_args: Any) -> None:
            self.samples_ms: list[float] = []
            self.rounds: list[int] = []

        def take(self, turn: Any) -> None:
            self.rounds.append(turn.index)
            self.samples_ms += [1.0] * 10

    monkeypatch.setattr("almaflow.worker.sizes.Rounds", TenCalls)
    checker: Any = SimpleNamespace(inputs=SimpleNamespace(prepare=None), task=SimpleNamespace(measure=MeasureSpec()))
    nothing: Any = None
    assert len(rounds_at(checker, nothing, nothing, nothing).rounds) == 3
    assert len(rounds_at(checker, nothing, nothing, nothing, lambda count: count < 95).samples_ms) == 100
