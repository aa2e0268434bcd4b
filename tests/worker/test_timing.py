"""Warm-up and rounds read the clock around single calls, and stop when they should."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.minimal_task import Events, make_task

from almaflow.records import MeasureSpec
from almaflow.records.protocol import MINIMUM_ROUNDS, RoundRequest, round_request
from almaflow.worker import timing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MS = 1_000_000


@dataclass
class Device:
    """A device that computes for some time after a call has returned, and a clock that only it moves."""

    call_ms: float | Callable[[int], float]
    """Of each call, or by how many calls there were before it."""
    now_ns: int = 0
    pending_ns: int = 0
    calls: list[int] = field(default_factory=list)
    unsynchronised_reads: int = 0

    def clock(self) -> int:
        self.unsynchronised_reads += self.pending_ns > 0
        return self.now_ns

    def call(self, index: int) -> None:
        ms = self.call_ms(len(self.calls)) if callable(self.call_ms) else self.call_ms
        self.calls.append(index)
        self.pending_ns += int(ms * MS)

    def synchronize(self) -> None:
        self.now_ns += self.pending_ns
        self.pending_ns = 0


def take(device: Device, turn: RoundRequest, first: int = 0) -> timing.Taken:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timing, "perf_counter_ns", device.clock)
        return timing.take(device.call, device.synchronize, turn, first)


def warm_up(device: Device, **spec: float) -> int:
    """How many calls the warm-up took, which are all that were made."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timing, "perf_counter_ns", device.clock)
        count = timing.warm_up(device.call, device.synchronize, MeasureSpec(**spec))  # type: ignore[arg-type]
    assert device.calls == list(range(count))
    assert device.unsynchronised_reads == 0
    return count


def test_a_round_goes_on_until_it_has_the_minimum_count() -> None:
    taken = take(Device(10.0), RoundRequest(0, min_calls=7, min_time_s=0.0, max_time_s=10.0))
    assert taken.samples_ms == (10.0,) * 7
    assert taken.wall_s == 0.07


def test_a_round_goes_on_until_it_has_the_minimum_time() -> None:
    taken = take(Device(10.0), RoundRequest(0, min_calls=7, min_time_s=0.5, max_time_s=10.0))
    assert len(taken.samples_ms) == 50
    assert taken.wall_s == 0.5


def test_a_maximum_that_comes_first_ends_the_round_with_the_call_that_crosses_it() -> None:
    for max_time_s, count in ((1.0, 3), (0.0, 1), (0.4, 1), (0.401, 2)):
        taken = take(Device(400.0), RoundRequest(0, min_calls=7, min_time_s=9.0, max_time_s=max_time_s))
        assert taken.samples_ms == (400.0,) * count


def test_the_first_call_of_a_round_is_on_the_batch_that_follows() -> None:
    device = Device(1.0)
    for first, calls in ((0, 3), (3, 2)):
        take(device, RoundRequest(0, min_calls=calls, min_time_s=0.0, max_time_s=1.0), first)
    assert device.calls == [0, 1, 2, 3, 4]


def test_work_that_was_left_to_the_device_before_the_round_is_not_in_it() -> None:
    device = Device(5.0)
    device.call(0)  # by whoever came before, and nobody has waited for it
    taken = take(device, RoundRequest(0, min_calls=2, min_time_s=0.0, max_time_s=1.0))
    assert taken.samples_ms == (5.0, 5.0)
    assert taken.wall_s == 0.01
    assert device.unsynchronised_reads == 0


def test_samples_are_in_the_order_of_the_calls() -> None:
    taken = take(Device(lambda count: 1.0 + count), RoundRequest(0, min_calls=4, min_time_s=0.0, max_time_s=1.0))
    assert taken.samples_ms == (1.0, 2.0, 3.0, 4.0)


@settings(max_examples=15)
@given(
    call_ms=st.floats(5.0, 50.0),
    min_calls=st.integers(0, 50),
    min_time_s=st.floats(0.0, 0.3),
    max_time_s=st.floats(0.0, 0.4),
    first=st.integers(0, 1000),
)
def test_the_stop_rule_of_a_round_holds_whatever_is_asked(
    call_ms: float, min_calls: int, min_time_s: float, max_time_s: float, first: int
) -> None:
    device = Device(call_ms)
    taken = take(device, RoundRequest(1, min_calls, min_time_s, max_time_s), first)
    assert device.unsynchronised_reads == 0
    count, step_ns = len(taken.samples_ms), int(call_ms * MS)
    assert taken.samples_ms == (step_ns / MS,) * count
    assert taken.wall_s == count * step_ns / 1e9
    assert device.calls == list(range(first, first + count))

    def over(samples: int) -> bool:
        enough = samples >= min_calls and samples * step_ns >= int(min_time_s * 1e9)
        return enough or samples * step_ns >= int(max_time_s * 1e9)

    assert count >= 1
    assert over(count)
    assert count == 1 or not over(count - 1)


@given(
    min_samples=st.integers(1, 1000),
    min_time_s=st.floats(0.0, 20.0),
    max_time_s=st.floats(0.1, 40.0),
    index=st.integers(0, 99),
)
def test_the_fewest_rounds_have_together_what_is_asked_in_all(
    min_samples: int, min_time_s: float, max_time_s: float, index: int
) -> None:
    spec = MeasureSpec(min_samples=min_samples, min_time_s=min_time_s, max_time_s=max_time_s)
    turn = round_request(spec, index)
    assert turn.index == index
    assert min_samples <= MINIMUM_ROUNDS * turn.min_calls < min_samples + MINIMUM_ROUNDS
    assert MINIMUM_ROUNDS * turn.min_time_s == pytest.approx(min_time_s)
    assert MINIMUM_ROUNDS * turn.max_time_s == pytest.approx(max_time_s)


@pytest.mark.parametrize(
    ("call_ms", "calls", "warm_s", "expected"),
    [
        (1.0, 1, 0.0, 10),  # two windows alike: it takes two to compare
        (1.0, 12, 0.0, 15),  # the count decides, rounded up to a whole window
        (1.0, 15, 0.0, 15),
        (1.0, 10, 0.5, 500),  # the time decides
        (1.0, 0, 0.1, 100),
        (500.0, 10, 0.0, 4),  # a quarter of the budget is spent first
        (500.0, 10, 3.0, 6),  # but not less than the time that was asked for
        (9000.0, 1, 0.0, 1),
        (1.0, 0, 0.0, 0),  # none
    ],
)
def test_the_warm_up_takes_its_count_and_its_time(call_ms: float, calls: int, warm_s: float, expected: int) -> None:
    assert warm_up(Device(call_ms), warmup_calls=calls, warmup_time_s=warm_s, max_time_s=8.0) == expected


def test_the_warm_up_goes_on_while_the_calls_get_quicker() -> None:
    # Ten percent quicker with each window, until nothing is left to gain after the sixth.
    falling = Device(lambda count: 10.0 * 0.9 ** min(count // timing.WARMUP_WINDOW, 6))
    assert warm_up(falling, warmup_calls=1, warmup_time_s=0.0) == 8 * timing.WARMUP_WINDOW
    # Half a percent is no reason to go on.
    hardly = Device(lambda count: 10.0 * 0.995 ** (count // timing.WARMUP_WINDOW))
    assert warm_up(hardly, warmup_calls=1, warmup_time_s=0.0) == 2 * timing.WARMUP_WINDOW


def test_one_quick_call_among_slow_ones_is_what_a_window_is_known_by() -> None:
    # Compiling in the first call, then calls of which most are disturbed.
    disturbed = Device(lambda count: 900.0 if count == 0 else 1.0 if count % timing.WARMUP_WINDOW == 3 else 7.0 + count)
    assert warm_up(disturbed, warmup_calls=1, warmup_time_s=0.0, max_time_s=40.0) == 2 * timing.WARMUP_WINDOW


def test_a_slow_window_does_not_make_the_next_one_look_like_getting_quicker() -> None:
    swinging = Device(lambda count: 15.0 if count // timing.WARMUP_WINDOW % 2 else 10.0)
    minimum = 3 * timing.WARMUP_WINDOW
    assert warm_up(swinging, warmup_calls=minimum, warmup_time_s=0.0) == minimum


def test_calls_that_get_quicker_for_ever_are_given_up_at_a_quarter_of_the_budget() -> None:
    device = Device(lambda count: 1.0 + 1000.0 * 0.9 ** (count / timing.WARMUP_WINDOW))
    count = warm_up(device, warmup_calls=1, warmup_time_s=0.0, max_time_s=20.0)
    assert device.now_ns >= 5e9
    assert count >= 5


@given(
    noise=st.lists(st.floats(1.0, 1.5), min_size=1, max_size=100),
    warmup_calls=st.integers(0, 40),
    warmup_time_s=st.floats(0.0, 0.2),
    max_time_s=st.floats(0.1, 40.0),
)
def test_noise_does_not_prolong_the_warm_up_for_ever(
    noise: list[float], warmup_calls: int, warmup_time_s: float, max_time_s: float
) -> None:
    device = Device(lambda count: 10.0 * noise[count % len(noise)])
    count = warm_up(device, warmup_calls=warmup_calls, warmup_time_s=warmup_time_s, max_time_s=max_time_s)
    if not warmup_calls and not warmup_time_s:
        assert count == 0
        return
    # The quickest call can get quicker by the threshold only so often: from 1.5 to 1.0.
    falls = ceil(1 + 0.41 / timing.STILL_FALLING)
    minima = max(warmup_calls, ceil(warmup_time_s / 0.01))
    assert count <= minima + (falls + 2) * timing.WARMUP_WINDOW
    budget_s = max(warmup_time_s, timing.WARMUP_SHARE * max_time_s)
    assert device.now_ns / 1e9 <= budget_s + 0.0151
    in_time = device.now_ns / 1e9 < budget_s - 1e-6
    assert not in_time or (count >= warmup_calls and count % timing.WARMUP_WINDOW == 0 and count > timing.WARMUP_WINDOW)
    assert not in_time or device.now_ns / 1e9 >= warmup_time_s


@pytest.mark.parametrize(
    ("call_ms", "last_s", "expected"),
    [
        (1.0, 0.001, 30),
        (20.0, 0.02, 2),
        (25.0, 0.025, 1),
        (14.0, 0.014, 2),
        (100.0, 0.1, 1),
        (400.0, 0.4, 0),
        (300.0, 0.3, 0),
        (400.0, 0.001, 1),
    ],
)
def test_a_round_begins_with_untimed_calls_for_a_while_unless_one_takes_long(
    monkeypatch: pytest.MonkeyPatch, call_ms: float, last_s: float, expected: int
) -> None:
    device = Device(call_ms)
    monkeypatch.setattr(timing, "perf_counter_ns", device.clock)
    timing.refill(device.call, device.synchronize, last_s)
    assert device.calls == list(range(expected))
    assert device.unsynchronised_reads == 0


def test_the_garbage_collector_rests_while_calls_are_timed_and_comes_back() -> None:
    seen: list[bool] = []
    turn = RoundRequest(0, min_calls=3, min_time_s=0.0, max_time_s=1.0)
    timing.take(lambda _: seen.append(gc.isenabled()), lambda: None, turn)
    assert seen == [False, False, False]
    assert gc.isenabled()

    def broken(_index: int) -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        timing.take(broken, lambda: None, turn)
    assert gc.isenabled()
    gc.disable()
    try:
        timing.take(lambda _: None, lambda: None, turn)
        assert not gc.isenabled()  # as it was found
    finally:
        gc.enable()


def test_a_call_that_sleeps_a_known_time_is_read_back_and_keeps_no_processor_busy() -> None:
    turn = RoundRequest(0, min_calls=9, min_time_s=0.0, max_time_s=30.0)
    taken = timing.take(lambda _: time.sleep(0.05), lambda: None, turn)
    assert min(taken.samples_ms) >= 50.0
    # The quickest third: a machine that is busy with something else wakes a sleeper late.
    assert median(sorted(taken.samples_ms)[:3]) == pytest.approx(50.0, rel=0.02)
    assert taken.wall_s == pytest.approx(sum(taken.samples_ms) / 1000, rel=0.02)
    assert taken.cpu_s < 0.2 * taken.wall_s


def test_a_call_that_computes_is_seen_in_the_processor_time() -> None:
    def compute(_index: int) -> None:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass

    taken = timing.take(compute, lambda: None, RoundRequest(0, min_calls=5, min_time_s=0.0, max_time_s=30.0))
    assert taken.cpu_s == pytest.approx(0.1, rel=0.1)


def test_what_was_there_before_the_rounds_is_not_looked_through_before_each(tmp_path: Path) -> None:
    from almaflow.worker.rounds import Rounds

    task = make_task(tmp_path, warmup_calls=1, warmup_time_s=0.0)
    try:
        Rounds(lambda _: None, lambda: None, task, Events())  # type: ignore[arg-type]
        assert gc.get_freeze_count() > 0
        assert len(gc.get_objects()) < gc.get_freeze_count() / 10
    finally:
        gc.unfreeze()
