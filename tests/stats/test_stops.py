"""A stop from outside is taken out of a series of calls, and nothing else is."""

from __future__ import annotations

from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.stats import calls_at_once, explained_by_stops

calls_ms = st.lists(st.floats(min_value=0.01, max_value=90.0), min_size=3, max_size=60)
stops_s = st.floats(min_value=0.5, max_value=3600.0)


@given(calls_ms, stops_s, st.floats(min_value=-0.2, max_value=0.2), st.data())
def test_a_stop_anywhere_in_a_series_is_left_out(
    calls: list[float], stop_s: float, seen_wrongly_s: float, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(calls) - 1))
    stopped = [call + 1000 * stop_s * (index == at) for index, call in enumerate(calls)]
    seen_s = max(0.5, stop_s + seen_wrongly_s)
    left_out = explained_by_stops(stopped, [seen_s], median(stopped))
    assert left_out == {at}
    kept = [call for index, call in enumerate(stopped) if index not in left_out]
    assert fmean(kept) <= max(calls)


@given(st.lists(st.floats(min_value=0.0, max_value=1e7), min_size=1, max_size=60))
def test_without_a_stop_nothing_is_left_out_however_long_it_took(calls: list[float]) -> None:
    assert explained_by_stops(calls, (), median(calls)) == frozenset()


@given(calls_ms, stops_s)
def test_a_stop_of_the_parent_alone_leaves_nothing_out(calls: list[float], stop_s: float) -> None:
    """The worker went on, and none of its calls is longer by as much."""
    assert explained_by_stops(calls, [stop_s], median(calls)) == frozenset()


@given(stops_s, st.floats(min_value=0.01, max_value=90.0))
def test_of_long_calls_a_stop_explains_one_only(stop_s: float, call_ms: float) -> None:
    long_ms = call_ms + 1000 * stop_s
    assert len(explained_by_stops([long_ms, call_ms, long_ms, call_ms, call_ms], [stop_s], call_ms)) == 1
    assert len(explained_by_stops([long_ms, call_ms, long_ms, call_ms, call_ms], [stop_s] * 2, call_ms)) == 2


@pytest.mark.parametrize(
    ("calls_ms", "stop_s"),
    [
        ([4.0, 4.0, 10_000.0, 4.0], 1.0),  # nine seconds of it have another reason
        ([4.0, 4.0, 300.0, 4.0], 2.0),  # shorter than the stop, which was therefore elsewhere
        ([9_000.0, 10_000.0, 10_600.0], 0.6),  # long calls that differ by as much
    ],
    ids=["a longer one", "a shorter one", "an ordinary one"],
)
def test_a_call_that_the_stop_does_not_explain_stays(calls_ms: list[float], stop_s: float) -> None:
    assert explained_by_stops(calls_ms, [stop_s], median(calls_ms)) == frozenset()


def test_a_stop_is_in_every_call_that_ran_then() -> None:
    calls = [5.0, 5.0, 3005.0, 3005.0]
    assert calls_at_once(calls, 3.01) == 2
    assert explained_by_stops(calls, [3.0], 5.0, calls_at_once(calls, 3.01)) == {2, 3}
    assert calls_at_once([5.0] * 4, 0.03) == 1
    assert calls_at_once([0.0], 0.0) == 1
