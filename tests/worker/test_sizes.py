"""A conversion at sizes other than the example's: it is checked there before it is timed, and timed where asked."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import planned
from tests.support.minimal_task import LINEAR, Events, TurnInbox, do_prepare, make_task

from almaflow.errors import UsageError
from almaflow.records import Axis, BatchSearch, DynamicDim, FailureKind, MeasureSpec, ModelSpec
from almaflow.worker.failures import FixedSizeError, WrongOutputError, classify
from almaflow.worker.sizes import rounds_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.records import BatchSearchResult, Measurement

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


SEARCHED = replace(DYNAMIC, search=BatchSearch(1, 8))


def searched(
    tmp_path: Path, call_ms: Callable[[int], float], model: ModelSpec = SEARCHED, rounds_s: float = 0.0, **others: Any
) -> tuple[BatchSearchResult | None, Exception | None]:
    """Search on a machine whose calls take a made time."""

    now_s = 0.0

    def made_rounds(checker: Any, converted: Any, _synchronize: Any, _events: Any, more: Callable[[int], bool]) -> Any:
        nonlocal now_s
        now_s += rounds_s
        batch = checker.inputs.get(0)
        converted.call(batch)
        count = 9
        while more(count):
            count += 1
        return SimpleNamespace(samples_ms=[call_ms(len(batch[0]))] * count, rounds=[])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("almaflow.worker.batch_search.rounds_at", made_rounds)
        patched.setattr("almaflow.worker.batch_search.time", SimpleNamespace(perf_counter=lambda: now_s))
        kept, _, error = run(tmp_path, model, **others)
    return kept[-1].search, error


def test_a_search_takes_rounds_at_each_batch_and_leaves_the_main_figures(tmp_path: Path) -> None:
    kept, events, error = run(tmp_path, SEARCHED)
    assert error is None
    found = kept[-1].search
    assert found is not None
    tried = [each.size["batch"] for each in found.tried]
    assert tried[:2] == [1, 2]
    assert found.batch in tried
    assert all(len(each.samples_ms) >= 9 for each in found.tried)
    assert (kept[-1].sizes, len(kept[-1].rounds)) == ((), 2)
    # Before the first round is told of, when nobody else has a turn.
    told = [(phase, report is not None) for phase, report in events.told]
    assert told.index(("ready", True)) > max(at for at, (phase, _) in enumerate(told) if phase == "warm-up")


def test_a_search_ends_where_throughput_grows_no_more_or_a_limit_is_hit(tmp_path: Path) -> None:
    def call_ms(batch: int) -> float:
        return 10.0 * max(1.0, batch / 4)  # four samples at once take as long as one

    found, error = searched(tmp_path, call_ms)
    assert error is None
    assert found is not None
    assert (found.batch, found.reason) == (4, "throughput grows by less than 5% up to 8")
    limited = replace(DYNAMIC, search=BatchSearch(1, 8, {"latency/p90": 12.0, "latency_ms": 11.0}))
    (second := tmp_path / "second").mkdir()
    found, _ = searched(second, lambda batch: 10.0 + (batch > 3) * 10.0, limited)
    assert found is not None
    assert (found.batch, found.reason) == (3, "at 4: latency/p90 20 > 12")
    assert {len(each.samples_ms) for each in found.tried} == {64}  # what a 90th percentile needs


def test_a_batch_that_a_conversion_does_not_take_ends_the_search(tmp_path: Path) -> None:
    def forward(eager: Callable[..., Any], x: Any) -> Any:
        if len(x) > 4:
            message = "no room"
            raise MemoryError(message)
        return eager(x)

    found, error = searched(tmp_path, lambda _batch: 10.0, forward=forward)
    assert error is None
    assert found is not None
    assert (found.batch, found.reason) == (4, "at 5: MemoryError: no room")


def test_a_search_takes_no_call_that_would_be_too_long(tmp_path: Path) -> None:
    found, _ = searched(tmp_path, lambda _batch: 5000.0)
    assert found is not None
    assert (found.batch, found.reason) == (1, "at 2: a call would take 10.0 s, more than measure.max_time_s=6")


def test_what_is_timed_stands_where_no_time_is_left_to_time_it_again(tmp_path: Path) -> None:
    limited = replace(DYNAMIC, search=BatchSearch(1, 8, {"latency_ms": 11.0}))
    found, _ = searched(tmp_path, lambda batch: 9.5 + batch, limited, rounds_s=40.0)
    assert found is not None
    assert (found.batch, found.reason) == (1, "at 2: latency_ms 11.5 > 11")
    (second := tmp_path / "second").mkdir()
    found, _ = searched(second, lambda batch: 10.0 * batch, rounds_s=20.0)
    assert found is not None
    assert (found.batch, found.reason) == (1, "throughput grows by less than 5% up to 4")


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


def test_a_percentile_without_its_calls_keeps_no_limit(tmp_path: Path) -> None:
    limited = replace(DYNAMIC, search=BatchSearch(1, 8, {"latency/p90": 12.0}))
    found, _ = searched(tmp_path, lambda _batch: 10.0, limited, rounds_s=61.0)
    assert found is not None
    assert (found.batch, found.reason) == (None, "at 1 already: no time left for the 64 calls that latency/p90 needs")


def test_a_found_batch_at_which_the_answer_is_wrong_is_told(tmp_path: Path) -> None:
    _, error = searched(
        tmp_path, lambda _batch: 10.0, forward=lambda eager, x: eager(x) * (0.5 if len(x) == 8 else 1.0)
    )
    assert isinstance(error, WrongOutputError)
    assert str(error).startswith("right at the size of the example, and wrong at batch 8: ")


def test_a_further_process_searches_nothing(tmp_path: Path) -> None:
    assert searched(tmp_path, lambda _batch: 10.0, replicate=1) == (None, None)
