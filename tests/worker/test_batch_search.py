"""A search for the batch size: where it ends, what it times, and what it says of why."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.sized_runs import DYNAMIC, run

from almaflow.records import BatchSearch
from almaflow.worker.failures import WrongOutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.records import BatchSearchResult, ModelSpec

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds

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
