from __future__ import annotations

import pytest

from almaflow.records.profile import Call, Segment, Timing
from almaflow.segments.summary import function_of, timing, variants_of, with_calls

FAMILIES = {"a5": "a", "a6": "a", "b5": "b"}


def call(number: int, *sequence: str, **more: object) -> Call:
    known: dict[str, object] = {
        "function": "predict",
        "thread": "main",
        "python_ms": tuple(float(number + slot) for slot in range(len(sequence) + 1)),
        "graphs_ms": tuple(10.0 * (number + 1) for _ in sequence),
    }
    return Call(number, sequence=sequence, **(known | more))  # type: ignore[arg-type]


def test_the_median_has_an_interval_from_six_durations_on() -> None:
    assert timing([]) is None
    assert timing([3.0, 1.0, 2.0]) == Timing(3, 2.0)
    assert timing([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == Timing(6, 3.5, 1.0, 6.0)


def test_calls_that_do_not_count_are_told_by_their_reason() -> None:
    calls = [
        call(0, "a5", compiled=True),
        call(1, "a5"),
        call(2, "a5", raised="ValueError", compiled=True),
        call(3, "a5", concurrent=True),
        call(4),
    ]
    made = function_of("predict", "app.py", 3, calls)
    assert made.calls == 5
    assert made.discarded == {"compiled": 1, "raised": 1, "concurrent": 1}
    assert made.uncaptured == (4,)
    assert (made.python, made.graphs, made.whole) == (Timing(2, 3.5), Timing(2, 10.0), Timing(2, 13.5))


def test_a_family_has_one_variant_whatever_its_sizes() -> None:
    calls = [call(0, "a5", compiled=True), call(1, "a6"), call(2, "a5", "b5"), call(3, "a5"), call(4, raised="OSError")]
    first, second = variants_of(calls, FAMILIES)
    assert (first.sequence, first.calls) == (("a",), (0, 1, 3))
    assert first.share == pytest.approx(0.75)
    assert first.python == (Timing(2, 2.0), Timing(2, 3.0))  # of the calls that count: 1 and 3
    assert (second.sequence, second.calls) == (("a", "b"), (2,))
    assert second.share == pytest.approx(0.25)


def test_a_variant_whose_calls_were_all_discarded_has_no_times() -> None:
    (only,) = variants_of([call(0, "a5", compiled=True)], FAMILIES)
    assert only.python == (None, None)


def test_segments_are_counted_in_all_calls_and_timed_in_those_that_count() -> None:
    segments = [Segment(each, FAMILIES[each], "predict", "app.py", 3, "predict", 1) for each in FAMILIES]
    calls = [call(0, "a5", "a5", compiled=True), call(1, "a5", "b5"), call(2, "b5")]
    longest, second, unused = with_calls(segments, calls)
    assert (longest.segment_id, longest.calls, longest.eager) == ("b5", 2, Timing(2, 25.0))
    assert (second.segment_id, second.calls, second.eager) == ("a5", 3, Timing(1, 20.0))
    assert (unused.segment_id, unused.calls, unused.eager) == ("a6", 0, None)
