"""Workers take turns until each has what was asked for, and no longer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.example_jobs import planned
from tests.support.fake_workers import HARDWARE, RAISED, SPEC, FakeWorker

from almaflow.measure.interleave import MeasuredWorker, settled, take_rounds
from almaflow.records import MachineState, MeasureSpec, ModelSpec, WorkerTask
from almaflow.records.protocol import MINIMUM_ROUNDS, RoundReport, RoundRequest, round_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass
class Watch:
    """Sees a made state, and which process it was asked to look at."""

    seen: list[int] = field(default_factory=list)

    def begin(self, pid: int) -> None:
        self.seen.append(pid)

    def end(self) -> MachineState:
        return MachineState(others_cpus=float(len(self.seen)))


def turns(name: str, call_ms: Iterable[float] = (1.0,), spec: MeasureSpec = SPEC, **settings: Any) -> MeasuredWorker:
    made = MeasuredWorker(fake(name, call_ms, **settings), spec, gap_s=0.0)
    made.begin()
    return made


def fake(name: str, call_ms: Iterable[float], **settings: Any) -> Any:
    return FakeWorker(WorkerTask(ModelSpec("m"), HARDWARE, SPEC, planned(name), "", ""), call_ms, **settings)


def worker(of: MeasuredWorker) -> FakeWorker:
    handle: Any = of.handle
    found: FakeWorker = handle
    return found


def take(
    everybody: Sequence[MeasuredWorker], anchors: Sequence[MeasuredWorker] = (), first: int = 1
) -> tuple[int, list[Any]]:
    shown: list[Any] = []
    after = take_rounds(everybody, anchors, first, Watch(), lambda *told: shown.append(told))  # type: ignore[arg-type]
    return after, shown


def noise(low: float, high: float) -> tuple[float, ...]:
    """Medians of rounds that never settle: as many on the one level as on the other."""
    return (low,) * 2 + (high,) * 2


def test_the_round_that_a_worker_brings_counts_and_has_no_neighbours() -> None:
    one = turns("EAGER")
    assert one.reports == [RoundReport(2, 1.0, 0.002)]
    assert one.states == [None]
    assert not one.ended
    take([one])
    assert worker(one).numbers == list(range(1, MINIMUM_ROUNDS))
    assert len(one.reports) == len(one.states) == MINIMUM_ROUNDS


def test_one_that_did_not_get_ready_takes_no_turn() -> None:
    dead = turns("JIT_TRACE", failure=RAISED)
    assert dead.ended
    assert dead.done
    assert dead.begin() is False
    assert take([dead]) == (1, [])
    assert not worker(dead).requests


def test_rounds_of_neighbours_have_the_same_number_and_are_taken_in_turns() -> None:
    names = ["EAGER", "ONNX_CPU", "JIT_TRACE"]
    everybody = [turns(name) for name in names]
    after, shown = take(everybody, first=4)
    assert after == 4 + MINIMUM_ROUNDS - 1
    for each in everybody:
        assert worker(each).numbers == list(range(4, after))
    # There and back, so that nobody always follows the same one.
    assert [name for name, *_ in shown] == [*reversed(names), *names] * ((MINIMUM_ROUNDS - 1) // 2)
    assert shown[0] == ("JIT_TRACE", 1, 0, 3)
    assert shown[-1] == ("JIT_TRACE", MINIMUM_ROUNDS - 1, 2, 3)


def test_what_changes_steadily_weighs_on_all_alike() -> None:
    everybody = [turns(name) for name in ("EAGER", "ONNX_CPU", "JIT_TRACE")]
    watch = Watch()
    take_rounds(everybody, [], 1, watch, lambda *_: None)  # type: ignore[arg-type]
    places = [[place for place, pid in enumerate(watch.seen) if pid == each.handle.process.pid] for each in everybody]
    assert len({sum(place) for place in places}) == 1


def test_each_turn_is_a_ninth_of_what_is_asked_in_all() -> None:
    spec = replace(SPEC, min_samples=64, min_time_s=0.9)
    one = turns("EAGER", spec=spec)
    take([one])
    assert worker(one).requests[0] == RoundRequest(1, 8, pytest.approx(0.1), pytest.approx(10.0))  # type: ignore[arg-type]


def test_one_that_needs_no_more_takes_short_rounds_for_the_sake_of_the_others() -> None:
    spec = replace(SPEC, min_samples=64, min_time_s=0.06, rel_precision=0.01)
    steady = turns("EAGER", spec=spec)
    slow = turns("JIT_TRACE", noise(10.0, 20.0), replace(spec, max_time_s=1.0))
    take([steady, slow], anchors=[steady])
    needed = worker(steady).requests[: MINIMUM_ROUNDS - 1]
    assert {(each.min_calls, round(each.min_time_s, 3)) for each in needed} == {(8, 0.007)}
    further = worker(steady).requests[MINIMUM_ROUNDS - 1 :]
    assert {(each.min_calls, round(each.min_time_s, 3)) for each in further} == {(3, 0.002)}
    assert {each.min_calls for each in worker(slow).requests} == {8}


@pytest.mark.parametrize(("min_samples", "calls"), [(1, 1), (18, 2), (64, 3), (81, 3), (662, 25)])
def test_a_short_round_is_a_third_and_has_three_calls_where_a_whole_one_has(min_samples: int, calls: int) -> None:
    assert round_request(replace(SPEC, min_samples=min_samples), 1, short=True).min_calls == calls


def test_all_that_have_time_take_part_as_long_as_anybody_needs_it() -> None:
    never_settles = replace(SPEC, rel_precision=0.01, max_time_s=1.0)
    settled_early, eager = turns("ONNX_CPU"), turns("EAGER")
    slow = turns("JIT_TRACE", noise(10.0, 20.0), never_settles)
    take([eager, settled_early, slow], anchors=[eager])
    assert len(worker(slow).requests) > 3 * MINIMUM_ROUNDS
    # Who settled while the machine was fast would win over those that went on while it was slow.
    assert worker(settled_early).numbers == worker(slow).numbers == worker(eager).numbers


def test_one_that_has_used_its_time_leaves_the_others_to_themselves() -> None:
    never_settles = replace(SPEC, rel_precision=0.01, max_time_s=1.0)
    short = turns("ONNX_CPU", (10.0,), replace(SPEC, max_time_s=0.3))
    slow = turns("JIT_TRACE", noise(10.0, 20.0), never_settles)
    take([short, slow])
    assert 0.3 <= sum(report.wall_s for report in short.reports) < 0.33
    assert worker(short).numbers == worker(slow).numbers[: len(worker(short).requests)]
    assert len(worker(short).requests) < len(worker(slow).requests)
    assert not short.ended
    assert short.spent
    assert settled(short.spec, short.reports)


def test_an_anchor_that_is_over_its_time_still_takes_part() -> None:
    quick, needs_more = replace(SPEC, max_time_s=0.001), replace(SPEC, min_samples=60)
    eager, slow = turns("EAGER", spec=quick), turns("JIT_TRACE", spec=needs_more)
    assert eager.done
    take([eager, slow], anchors=[eager])
    assert worker(eager).numbers == worker(slow).numbers


def test_an_anchor_that_died_takes_no_part() -> None:
    eager, other = turns("EAGER", dies_in=3), turns("ONNX_CPU")
    take([eager, other], anchors=[eager])
    assert worker(eager).numbers == [1, 2, 3]
    assert len(worker(other).requests) == MINIMUM_ROUNDS - 1


def test_a_worker_that_ends_drops_out_and_keeps_what_it_gave() -> None:
    dying, other = turns("JIT_TRACE", dies_in=4), turns("ONNX_CPU")
    after, shown = take([dying, other])
    assert dying.ended
    assert dying.done
    assert len(dying.reports) == 4
    assert len(dying.states) == 5  # it was looked at in its last turn too
    assert worker(dying).numbers == [1, 2, 3, 4]
    assert len(worker(other).requests) == MINIMUM_ROUNDS - 1
    assert after == MINIMUM_ROUNDS
    assert ("ONNX_CPU", 5, 1, 2) in shown


def test_the_machine_is_looked_at_during_each_turn_of_each() -> None:
    one, other = turns("EAGER"), turns("ONNX_CPU")
    watch = Watch()
    take_rounds([one, other], [], 1, watch, lambda *_: None)  # type: ignore[arg-type]
    first, second = (each.handle.process.pid for each in (one, other))
    assert watch.seen == [first, second, second, first] * ((MINIMUM_ROUNDS - 1) // 2)
    seen = [state.others_cpus for state in one.states if state]
    assert seen == [float(place) for place, pid in enumerate(watch.seen, 1) if pid == first]
    assert all(state.watched_s is not None and state.watched_s >= 0 for state in one.states if state)


@pytest.mark.parametrize(
    ("asked", "rounds"),
    [
        ({}, MINIMUM_ROUNDS),
        ({"min_samples": 1}, MINIMUM_ROUNDS),
        ({"min_samples": 19}, MINIMUM_ROUNDS),  # three a round
        ({"min_time_s": 0.8995}, MINIMUM_ROUNDS),
    ],
)
def test_minima_are_reached_with_the_fewest_rounds_that_carry_an_interval(asked: dict[str, Any], rounds: int) -> None:
    spec = replace(SPEC, **asked)
    one = MeasuredWorker(fake("EAGER", (1.0,)), spec, gap_s=0.0)
    take([one])
    assert len(one.reports) == rounds
    assert settled(spec, one.reports)
    assert sum(report.count for report in one.reports) >= spec.min_samples
    assert sum(report.wall_s for report in one.reports) >= spec.min_time_s


@pytest.mark.parametrize("lacking", [{"min_samples": 19}, {"min_time_s": 0.019}, {"rel_precision": 0.02}])
def test_it_is_not_settled_without_the_count_the_time_or_the_precision(lacking: dict[str, Any]) -> None:
    reports = [RoundReport(2, 1.0 + 0.1 * (index % 2), 0.002) for index in range(MINIMUM_ROUNDS)]
    assert settled(replace(SPEC, min_time_s=0.018, rel_precision=0.1), reports)
    assert not settled(replace(SPEC, **lacking), reports)
    assert not settled(SPEC, reports[1:])


def test_precision_that_is_reached_ends_it_and_until_then_it_goes_on() -> None:
    spec = replace(SPEC, rel_precision=0.02)
    # Nine rounds that differ by 20%, then all alike: the interval narrows as these become the most.
    uneven = [10.0, 10.0, 12.0, 12.0] * 5 + [11.0] * 1000
    one = turns("EAGER", uneven, spec)
    take([one])
    assert MINIMUM_ROUNDS < len(one.reports) < 100
    assert settled(spec, one.reports)
    assert not settled(spec, one.reports[:-1])
    steady = turns("EAGER", (10.0, 10.1), spec)
    take([steady])
    assert len(steady.reports) == MINIMUM_ROUNDS


def test_noise_that_never_settles_ends_at_the_maximum_time() -> None:
    spec = replace(SPEC, rel_precision=0.02, max_time_s=2.0)
    one = turns("EAGER", noise(10.0, 20.0), spec)
    take([one])
    timed_s = sum(report.wall_s for report in one.reports)
    assert 2.0 <= timed_s < 2.05
    assert not settled(spec, one.reports)
    assert one.done


def test_without_a_precision_the_same_noise_is_enough() -> None:
    one = turns("EAGER", noise(10.0, 20.0), replace(SPEC, rel_precision=None))
    take([one])
    assert len(one.reports) == MINIMUM_ROUNDS
    assert settled(one.spec, one.reports)


def test_calls_that_take_longer_than_all_that_is_allowed_are_few() -> None:
    spec = replace(SPEC, max_time_s=2.0)
    one = turns("EAGER", (1500.0,), spec)
    take([one])
    assert [report.count for report in one.reports] == [2, 1][: len(one.reports)]
    assert len(one.reports) <= 2
    assert not settled(spec, one.reports)


@settings(max_examples=60, deadline=None)
@given(
    workers=st.lists(
        st.tuples(st.lists(st.floats(1.0, 300.0), min_size=1, max_size=12), st.none() | st.integers(1, 13)),
        min_size=1,
        max_size=4,
    ),
    anchors=st.integers(0, 2),
    min_samples=st.integers(1, 60),
    min_time_s=st.floats(0.0, 2.0),
    max_time_s=st.floats(0.1, 3.0),
    rel_precision=st.none() | st.floats(0.001, 0.2),
    first=st.integers(1, 50),
)
def test_it_always_ends_and_nobody_takes_more_than_its_time(
    workers: list[tuple[list[float], int | None]],
    anchors: int,
    min_samples: int,
    min_time_s: float,
    max_time_s: float,
    rel_precision: float | None,
    first: int,
) -> None:
    spec = MeasureSpec(
        min_samples=min_samples, min_time_s=min_time_s, max_time_s=max_time_s, rel_precision=rel_precision
    )
    everybody = [turns(f"W{index}", call_ms, spec, dies_in=dies_in) for index, (call_ms, dies_in) in enumerate(workers)]
    after, _ = take(everybody, everybody[:anchors], first)
    assert all(each.done for each in everybody)
    for index, each in enumerate(everybody):
        numbers = worker(each).numbers
        assert numbers == list(range(first, first + len(numbers)))  # none is left out
        assert len(each.reports) == 1 + len(numbers) - each.ended
        if index >= anchors:
            *before, _ = each.reports
            assert not before or sum(report.wall_s for report in before) < max_time_s
    longest = max(len(worker(each).requests) for each in everybody)
    assert after == first + longest
    for index, each in enumerate(everybody):
        # Whoever had the time took part to the end, and somebody needed it.
        assert len(worker(each).requests) == longest or each.ended or (index >= anchors and each.spent)

    def needed_the_last_round(each: MeasuredWorker) -> bool:
        without = replace(each, reports=each.reports[:-1], ended=False)
        return len(worker(each).requests) == longest and (each.ended or not without.done)

    assert not longest or any(map(needed_the_last_round, everybody))


def test_a_stop_is_noted_with_its_round_and_is_no_measured_time() -> None:
    one = turns("EAGER")
    worker(one).stops_s = (30.0,)
    seen: Any = Watch()
    worker(one).report_wall_s = 31.0
    one.take(1, seen)
    assert one.states[-1] is not None
    assert one.states[-1].stops_s == (30.0,)
    assert one.reports[-1].wall_s == pytest.approx(1.0)


def test_a_stop_of_the_parent_alone_takes_nothing_from_what_the_worker_measured() -> None:
    one = turns("EAGER")
    worker(one).stops_s = (30.0,)
    seen: Any = Watch()
    one.take(1, seen)
    assert one.reports[-1].wall_s == pytest.approx(0.002)


def test_a_stop_in_the_first_round_is_noted_too() -> None:
    handle = fake("EAGER", (1.0,))
    handle.stops_s = (2.0,)
    made = MeasuredWorker(handle, SPEC, gap_s=0.0)
    made.begin()
    assert made.states == [MachineState(stops_s=(2.0,))]
