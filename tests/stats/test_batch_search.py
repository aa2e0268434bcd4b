"""The search for a batch size: where throughput stops growing, or a limit is hit, also where calls are disturbed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.stats import FoundBatch, Trial, search_batch

if TYPE_CHECKING:
    from collections.abc import Callable


class Machine:
    """A machine whose calls take a made time; it remembers which sizes it was asked for."""

    def __init__(self, call_ms: Callable[[int], float], most_ms: float = math.inf) -> None:
        self.asked: list[int] = []
        self._call_ms, self._most_ms = call_ms, most_ms

    def __call__(self, batch: int) -> Trial:
        self.asked.append(batch)
        took_ms = self._call_ms(batch)
        over = f"{took_ms:g} ms > {self._most_ms:g}" if took_ms > self._most_ms else None
        return Trial(batch, took_ms, over, close=took_ms < 1.1 * self._most_ms)


def test_it_stops_where_throughput_grows_no_more() -> None:
    # Sixteen samples at once take as long as one; from there on each takes its time.
    machine = Machine(lambda batch: max(16.0, batch))
    found = search_batch(machine, 1, 1024)
    assert found == FoundBatch(16, "throughput grows by less than 5% up to 64")
    assert max(machine.asked) == 64


def test_the_answer_lies_between_two_doublings() -> None:
    found = search_batch(Machine(lambda batch: max(24.0, batch)), 1, 1024)
    assert found.batch in {23, 24}


def test_the_largest_that_keeps_to_a_limit() -> None:
    # Throughput goes on growing: a call takes 10 ms and 0.1 ms for each sample.
    machine = Machine(lambda batch: 10 + batch / 10, most_ms=12.0)
    found = search_batch(machine, 1, 1024)
    assert found.batch is not None
    assert 18 <= found.batch <= 20
    over = 10 + (found.batch + 1) / 10, 10 + (found.batch + 2) / 10
    assert found.reason in {f"at {found.batch + each + 1}: {ms:g} ms > 12" for each, ms in enumerate(over)}


def test_throughput_that_is_reached_below_the_limit_takes_no_larger_batch() -> None:
    found = search_batch(Machine(lambda batch: max(4.0, batch), most_ms=12.0), 1, 1024)
    assert found.batch == 4
    assert found.reason.startswith("throughput grows by less than 5% up to 1")


def test_none_where_not_even_the_smallest_keeps_to_the_limit() -> None:
    machine = Machine(lambda batch: 20.0 * batch, most_ms=12.0)
    assert search_batch(machine, 1, 64) == FoundBatch(None, "at 1 already: 20 ms > 12")
    assert machine.asked == [1]


def test_it_keeps_to_the_range() -> None:
    machine = Machine(lambda _batch: 1.0)
    assert search_batch(machine, 3, 20) == FoundBatch(20, "20 is the largest that is tried")
    assert min(machine.asked) == 3
    assert search_batch(Machine(lambda _batch: 1.0), 7, 7) == FoundBatch(7, "7 is the largest that is tried")


def test_one_disturbed_step_ends_nothing() -> None:
    calls: dict[int, int] = {}

    def disturbed(batch: int) -> float:
        calls[batch] = calls.get(batch, 0) + 1
        # Two sizes in a row seem to gain nothing.
        return 10.0 * (4.0 if batch in {4, 8} and calls[batch] == 1 else 1.0)

    found = search_batch(Machine(disturbed), 1, 64)
    assert found.batch == 64
    assert calls[4] == calls[8] == 2


def test_a_limit_that_is_just_missed_is_looked_at_again() -> None:
    calls: list[int] = []

    def disturbed(batch: int) -> float:
        calls.append(batch)
        return 12.5 if batch == 8 and calls.count(8) == 1 else 10.0

    assert search_batch(Machine(disturbed, most_ms=12.0), 1, 8).batch == 8


@given(
    overhead_ms=st.floats(0.01, 100.0),
    sample_ms=st.floats(0.01, 10.0),
    most_ms=st.one_of(st.just(math.inf), st.floats(1.0, 500.0)),
    noise=st.randoms(use_true_random=False),
)
def test_it_is_near_the_best_there_is_on_a_noisy_machine(
    overhead_ms: float, sample_ms: float, most_ms: float, noise: object
) -> None:
    def true_ms(batch: int) -> float:
        return overhead_ms + batch * sample_ms

    def noisy(batch: int) -> float:
        return true_ms(batch) * float(noise.uniform(1.0, 1.02))  # type: ignore[attr-defined]

    machine = Machine(noisy, most_ms)
    found = search_batch(machine, 1, 512)
    fitting = [batch for batch in range(1, 513) if true_ms(batch) * 1.02 <= most_ms]
    if found.batch is None:
        assert not fitting
        return
    assert true_ms(found.batch) <= most_ms
    if fitting:
        best = max(batch / true_ms(batch) for batch in fitting)
        assert found.batch / true_ms(found.batch) > 0.85 * best
    assert len(machine.asked) < 40


@pytest.mark.parametrize("batch", [1, 5])
def test_a_call_too_short_for_the_clock_has_no_end_of_throughput(batch: int) -> None:
    assert Trial(batch, 0.0).rate == math.inf
    assert search_batch(Machine(lambda _batch: 0.0), 1, 8).batch == 1
