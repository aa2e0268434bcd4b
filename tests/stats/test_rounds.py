from __future__ import annotations

from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.stats import (
    Interval,
    Ratio,
    RoundMedian,
    contradicts,
    is_settled,
    is_unsure,
    latency_interval,
    ratio,
    spread_between,
)

milliseconds = st.floats(min_value=0.01, max_value=1e4)


def rounds(medians_ms: list[float], replicate: int = 0, first: int = 1) -> list[RoundMedian]:
    return [RoundMedian(replicate, index, value) for index, value in enumerate(medians_ms, start=first)]


NINE = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0]


def test_a_ratio_pairs_rounds_of_the_same_process_number_and_index() -> None:
    slower = [RoundMedian(0, 1, 10.0), RoundMedian(0, 2, 30.0), RoundMedian(1, 1, 100.0), RoundMedian(1, 7, 1.0)]
    faster = [RoundMedian(1, 1, 20.0), RoundMedian(0, 2, 10.0), RoundMedian(0, 1, 5.0), RoundMedian(2, 7, 1.0)]
    found = ratio(slower, faster)
    assert found is not None
    assert (found.value, found.pairs) == (3.0, 3)  # of 10 / 5, 30 / 10 and 100 / 20
    assert found.interval is None  # three are too few


def test_a_worker_s_own_first_round_has_no_neighbour() -> None:
    """It is taken as soon as a worker is warm, minutes apart from that of another one."""
    slower, faster = rounds([100.0, 20.0, 20.0], first=0), rounds([1.0, 10.0, 10.0], first=0)
    found = ratio(slower, faster)
    assert found is not None
    assert (found.value, found.pairs) == (2.0, 2)
    assert ratio(slower[:1], faster[:1]) is None


def test_without_a_round_in_common_or_with_one_of_zero_length_there_is_no_ratio() -> None:
    assert ratio([], []) is None
    assert ratio(rounds([1.0, 1.0]), rounds([1.0, 1.0], first=3)) is None
    assert ratio(rounds([1.0, 1.0]), rounds([1.0, 1.0], replicate=1)) is None
    assert ratio(rounds([1.0, 1.0]), rounds([1.0, 0.0])) is None
    assert ratio(rounds([1.0, 0.0]), rounds([1.0, 1.0])) is None


def test_a_zero_among_rounds_without_a_neighbour_does_not_matter() -> None:
    found = ratio(rounds([0.0, 4.0], first=0), rounds([0.0, 2.0], first=0))
    assert found is not None
    assert found.value == 2.0


@given(st.lists(st.tuples(milliseconds, milliseconds), min_size=6, max_size=40).filter(lambda pairs: len(pairs) % 2))
def test_turned_round_the_ratio_is_its_inverse(pairs: list[tuple[float, float]]) -> None:
    slower, faster = rounds([above for above, _ in pairs]), rounds([below for _, below in pairs])
    found, inverse = ratio(slower, faster), ratio(faster, slower)
    assert found
    assert inverse
    assert found.interval
    assert inverse.interval
    assert found.value in found.interval
    assert inverse.value == pytest.approx(1 / found.value)
    assert inverse.interval.low == pytest.approx(1 / found.interval.high)
    assert inverse.interval.high == pytest.approx(1 / found.interval.low)


@given(
    # Factors that change no digit: else two equal ratios may come to differ in the last, and which of two ties is above
    # the median decides how far rounds go together.
    st.lists(
        st.tuples(milliseconds, milliseconds, st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0])), min_size=6, max_size=40
    ),
)
def test_what_slows_both_neighbours_leaves_the_ratio_and_its_interval(drawn: list[tuple[float, float, float]]) -> None:
    calm = ratio(rounds([above for above, _, _ in drawn]), rounds([below for _, below, _ in drawn]))
    slowed = ratio(
        rounds([above * factor for above, _, factor in drawn]), rounds([below * factor for _, below, factor in drawn])
    )
    assert calm
    assert slowed
    assert calm.interval
    assert slowed.interval
    assert slowed.value == pytest.approx(calm.value)
    assert slowed.interval.low == pytest.approx(calm.interval.low)
    assert slowed.interval.high == pytest.approx(calm.interval.high)


def test_a_drift_that_moves_the_ratio_of_the_medians_leaves_that_of_the_neighbours() -> None:
    """Eager takes part for 30 rounds while the machine slows down to half; the other one is done after nine."""
    random = np.random.default_rng(3)
    drift = np.linspace(1.0, 2.0, 30)
    eager_ms = (20.0 * random.normal(1.0, 0.005, 30) * drift).tolist()
    other_ms = (10.0 * random.normal(1.0, 0.005, 9) * drift[:9]).tolist()
    found = ratio(rounds(eager_ms), rounds(other_ms))
    assert found
    assert found.interval
    assert found.pairs == 9
    assert found.value == pytest.approx(2.0, rel=0.01)
    assert 2.0 in found.interval
    assert found.interval.half_width < 0.02
    assert median(eager_ms) / median(other_ms) > 2.5


@pytest.mark.parametrize(("pairs", "known"), [(5, False), (6, True)])
def test_the_interval_of_a_ratio_needs_six_rounds_in_common(pairs: int, known: bool) -> None:
    found = ratio(rounds([2.0] * 20), rounds([1.0] * pairs))
    assert found is not None
    assert found.pairs == pairs
    assert (found.interval == Interval(2.0, 2.0)) is known


def test_over_several_processes_the_interval_of_a_ratio_reaches_from_the_lowest_to_the_highest_end() -> None:
    """Processes differ by more than the rounds of one: taken together, 39 rounds would look far too sure."""
    tens = [*rounds([10.0] * 30), *rounds([10.0] * 9, replicate=1)]
    found = ratio([*rounds([20.0] * 30), *rounds([30.0] * 9, replicate=1)], tens)
    assert found
    assert (found.value, found.interval, found.pairs) == (2.0, Interval(2.0, 3.0), 39)
    few = ratio([*rounds([20.0] * 30), *rounds([30.0] * 5, replicate=1)], tens)
    assert few
    assert (few.value, few.interval, few.pairs) == (2.0, None, 35)


def processes(random: np.random.Generator) -> Interval | None:
    """Of a ratio of 2 that each of three processes shifts by some 3%, and its rounds by some 0.5%."""
    slower: list[RoundMedian] = []
    for number in range(3):
        values = 20.0 * (1 + 0.03 * random.standard_normal()) * random.normal(1.0, 0.005, 9)
        slower += rounds(values.tolist(), number, first=1 + 9 * number)
    found = ratio(slower, [RoundMedian(each.replicate, each.index, 10.0) for each in slower])
    assert found is not None
    return found.interval


def test_over_processes_that_differ_the_interval_holds_the_ratio_in_most_cases() -> None:
    """Of 2000 simulations of three processes: about 85%, as the documents say."""
    random = np.random.default_rng(5)
    held = sum(2.0 in found for _ in range(2000) if (found := processes(random)))
    assert held / 2000 == pytest.approx(0.85, abs=0.03)


def test_the_interval_of_one_process_is_that_of_its_rounds() -> None:
    assert latency_interval(rounds(NINE)) == Interval(2.0, 8.0)
    assert latency_interval(rounds(NINE, first=0)) == Interval(2.0, 8.0)


def test_over_several_processes_it_reaches_from_the_lowest_to_the_highest_end() -> None:
    """Rounds of one process say nothing about the next one: 18 rounds together would give a narrower interval."""
    second = [value + 10 for value in NINE]
    together = [*rounds(NINE), *rounds(second, replicate=1)]
    assert latency_interval(together) == Interval(2.0, 18.0)
    assert latency_interval(together[::-1]) == Interval(2.0, 18.0)


def test_it_is_not_known_where_one_process_has_too_few_rounds() -> None:
    assert latency_interval([]) is None
    assert latency_interval(rounds(NINE[:5])) is None
    assert latency_interval([*rounds(NINE), *rounds(NINE[:5], replicate=1)]) is None


def test_it_is_settled_when_half_the_interval_is_within_the_share_of_the_median() -> None:
    nine = [200.0, 95.0, 104.0, 96.0, 103.0, 97.0, 101.0, 99.0, 100.0]  # second and last but one: 96 and 104
    assert is_settled(nine, 0.04)
    assert not is_settled(nine, 0.0399)


def test_any_precision_is_reached_where_none_is_asked_for_and_none_below_six_rounds() -> None:
    assert is_settled([], None)
    assert is_settled([1.0, 100.0], None)
    assert not is_settled([1.0] * 5, 0.5)
    assert is_settled([1.0] * 6, 0.001)


def test_a_narrow_series_that_only_drifts_is_not_settled() -> None:
    """Two independent values at the most: nobody knows where it would go from there."""
    drifting = [100.0 + 0.1 * number for number in range(12)]
    assert not is_settled(drifting, 0.02)
    assert is_settled([*drifting[::2], *drifting[::-2]], None)
    up_and_down = [value for pair in zip(drifting, drifting[::-1], strict=True) for value in pair][:12]
    assert is_settled(up_and_down, 0.02)


def test_the_spread_between_processes_is_that_of_their_medians() -> None:
    found = spread_between(
        [*rounds([9.0, 10.0, 50.0]), *rounds([12.0, 11.0], replicate=1), *rounds([8.0], replicate=2)]
    )
    assert found is not None
    assert (found.processes, found.low_ms, found.high_ms) == (3, 8.0, 11.5)
    assert found.relative == pytest.approx(3.5 / 10.0)


def test_one_process_has_nothing_to_differ_from() -> None:
    assert spread_between(rounds(NINE)) is None
    assert spread_between([]) is None


def test_a_clock_that_reads_zero_has_no_relative_spread() -> None:
    assert spread_between([*rounds([0.0, 0.0]), *rounds([0.0], replicate=1)]) is None


@given(st.lists(st.lists(milliseconds, min_size=1, max_size=9), min_size=2, max_size=4), st.randoms())
def test_neither_the_order_nor_the_unit_changes_the_relative_spread(
    processes: list[list[float]], random: object
) -> None:
    made = [each for number, medians in enumerate(processes) for each in rounds(medians, number)]
    found = spread_between(made)
    shuffled = [RoundMedian(each.replicate, each.index, 1000 * each.median_ms) for each in made]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = spread_between(shuffled)
    assert found
    assert again
    assert again.relative == pytest.approx(found.relative)
    assert found.low_ms <= found.high_ms


@pytest.mark.parametrize(
    ("paired", "slower", "faster", "expected"),
    [
        (Ratio(264.0, Interval(1.9, 280.0), 8), (0.668, Interval(0.56, 84.0)), (0.299, Interval(0.29, 0.31)), True),
        (Ratio(264.0, None, 3), (0.668, None), (0.299, None), True),
        (Ratio(2.0, Interval(1.9, 2.1), 9), (20.0, Interval(19.0, 21.0)), (10.0, Interval(9.9, 10.1)), False),
        # The whole machine changed its speed: the medians are unsure, and the ratio is not.
        (Ratio(1.0, Interval(0.98, 1.05), 9), (29.0, Interval(24.0, 29.5)), (24.0, Interval(23.8, 29.2)), False),
        (Ratio(1.0, Interval(0.98, 1.05), 9), (29.0, Interval(28.5, 29.5)), (24.0, Interval(23.8, 24.2)), True),
        # Sure, and by so little that nobody minds.
        (Ratio(1.0, Interval(0.99, 1.01), 9), (26.0, Interval(25.9, 26.1)), (25.0, Interval(24.9, 25.1)), False),
        (Ratio(1.2, None, 3), (25.0, None), (25.0, None), False),
    ],
)
def test_a_ratio_contradicts_the_medians_beyond_both_intervals_or_by_far(
    paired: Ratio, slower: tuple[float, Interval | None], faster: tuple[float, Interval | None], expected: bool
) -> None:
    assert contradicts(paired, slower, faster) is expected


@pytest.mark.parametrize(
    ("interval", "unsure"), [(None, False), (Interval(9.0, 11.0), False), (Interval(9.0, 11.1), True)]
)
def test_a_median_is_unsure_where_its_interval_is_unsurer_than_ten_percent_either_way(
    interval: Interval | None, unsure: bool
) -> None:
    assert is_unsure(10.0, interval) is unsure
