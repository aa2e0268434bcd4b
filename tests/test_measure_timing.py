"""The timing loop reads the clock around single calls, and stops when it should."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from statistics import median

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from almaflow.measure import timing
from almaflow.records import MeasureSpec

MS = 1_000_000


@dataclass
class Device:
    """A device that computes for ``call_ms`` after a call has returned, and a clock that only it moves."""

    call_ms: float
    now_ns: int = 0
    pending: int = 0
    calls: list[int] = field(default_factory=list)
    unsynchronised_reads: int = 0

    def clock(self) -> int:
        self.unsynchronised_reads += self.pending
        return self.now_ns

    def call(self, index: int) -> None:
        self.calls.append(index)
        self.pending += 1

    def synchronize(self) -> None:
        self.now_ns += int(self.pending * self.call_ms * MS)
        self.pending = 0


def measured(
    device: Device, monkeypatch: pytest.MonkeyPatch, **spec: float
) -> tuple[timing.Timing, MeasureSpec, list[int]]:
    """The timing, its spec, and how many calls had been made when the warm-up ended."""
    warm: list[int] = []
    made = MeasureSpec(**spec)  # type: ignore[arg-type]
    with monkeypatch.context() as patched:
        patched.setattr(timing, "perf_counter_ns", device.clock)
        taken = timing.measure(device.call, device.synchronize, made, lambda: warm.append(len(device.calls)))
    return taken, made, warm


COUNTS_ALONE = {"warmup_calls": 3, "warmup_time_s": 0.0, "min_time_s": 0.0}


def test_it_goes_on_until_it_has_the_minimum_count(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, _, warm = measured(Device(10.0), monkeypatch, **COUNTS_ALONE, min_samples=7)
    assert taken == timing.Timing((10.0,) * 7, warmup_calls=3, complete=True)
    assert warm == [3]


def test_it_goes_on_until_it_has_the_minimum_time(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, _, _ = measured(Device(10.0), monkeypatch, **COUNTS_ALONE | {"min_time_s": 0.5}, min_samples=7)
    assert len(taken.samples_ms) == 50
    assert taken.complete


def test_a_budget_that_ends_first_leaves_it_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, _, _ = measured(Device(400.0), monkeypatch, **COUNTS_ALONE, min_samples=7, max_time_s=1.0)
    assert taken.samples_ms == (400.0,) * 3
    assert not taken.complete


def test_the_first_timed_call_is_on_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(1.0)
    measured(device, monkeypatch, **COUNTS_ALONE, min_samples=4)
    assert device.calls == [0, 1, 2, 0, 1, 2, 3]


def test_the_warm_up_takes_its_count_and_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = {"min_samples": 1, "min_time_s": 0.0, "max_time_s": 8.0}
    for call_ms, calls, warm_s, expected in (
        (1.0, 10, 0.0, 10),  # the count decides
        (1.0, 10, 0.5, 500),  # the time decides
        (500.0, 10, 0.0, 4),  # a quarter of the budget is spent first
        (500.0, 10, 3.0, 6),  # but not less than the time that was asked for
        (1.0, 0, 0.0, 0),
    ):
        taken, _, warm = measured(Device(call_ms), monkeypatch, warmup_calls=calls, warmup_time_s=warm_s, **rest)
        assert taken.warmup_calls == expected
        assert warm == [expected]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    call_ms=st.floats(2.0, 50.0),
    min_samples=st.integers(1, 50),
    min_time_s=st.floats(0.0, 0.3),
    max_time_s=st.floats(0.01, 0.4),
    warmup_calls=st.integers(0, 20),
    warmup_time_s=st.floats(0.0, 0.1),
)
def test_the_stop_rule_holds_whatever_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    call_ms: float,
    min_samples: int,
    min_time_s: float,
    max_time_s: float,
    warmup_calls: int,
    warmup_time_s: float,
) -> None:
    device = Device(call_ms)
    taken, spec, _ = measured(
        device,
        monkeypatch,
        min_samples=min_samples,
        min_time_s=min_time_s,
        max_time_s=max_time_s,
        warmup_calls=warmup_calls,
        warmup_time_s=warmup_time_s,
    )
    assert device.unsynchronised_reads == 0
    count, step_ns = len(taken.samples_ms), int(call_ms * MS)
    assert taken.samples_ms == (step_ns / MS,) * count

    def enough(samples: int) -> bool:
        return samples >= spec.min_samples and samples * step_ns >= int(spec.min_time_s * 1e9)

    def spent(samples: int) -> bool:
        return samples * step_ns >= int(spec.max_time_s * 1e9)

    assert taken.complete == enough(count)
    assert enough(count) or spent(count)
    assert not enough(count - 1)
    assert not spent(count - 1)
    assert taken.warmup_calls + count == len(device.calls)


def test_the_garbage_collector_rests_while_calls_are_timed_and_comes_back() -> None:
    seen: list[bool] = []
    spec = MeasureSpec(min_samples=3, min_time_s=0.0, warmup_calls=1, warmup_time_s=0.0)
    timing.measure(lambda _: seen.append(gc.isenabled()), lambda: None, spec)
    assert seen == [True, False, False, False]
    assert gc.isenabled()

    def broken(_index: int) -> None:
        if not gc.isenabled():
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        timing.measure(broken, lambda: None, spec)
    assert gc.isenabled()


def test_a_call_that_sleeps_a_known_time_is_read_back() -> None:
    spec = MeasureSpec(min_samples=9, min_time_s=0.0, warmup_calls=1, warmup_time_s=0.0)
    samples = timing.measure(lambda _: time.sleep(0.05), lambda: None, spec).samples_ms
    assert min(samples) >= 50.0
    # The quickest third: a machine that is busy with something else wakes a sleeper late.
    assert median(sorted(samples)[:3]) == pytest.approx(50.0, rel=0.02)
