"""The lines between a worker and its parent survive whatever converted code writes into them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.records.protocol import (
    PHASES,
    Event,
    EventReader,
    EventWriter,
    RoundReport,
    RoundRequest,
    read_request,
    request_line,
)

REPORTS = st.builds(RoundReport, st.integers(1, 10**9), st.floats(0, 1e9), st.floats(0, 1e9))
SPOILT: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    st.sampled_from(["count", "median_ms", "wall_s", "other"]),
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3) | st.just(10**400) | st.just([]),
)
LINES = st.one_of(
    st.binary(max_size=60).map(lambda garbage: garbage.replace(b"\n", b"")),
    st.sampled_from(PHASES).map(lambda phase: json.dumps({"phase": phase}).encode()),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(PHASES),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["phase", "report"]), inner),
        max_leaves=4,
    ).map(lambda value: json.dumps(value).encode()),
    st.builds(lambda report: json.dumps({"phase": "ready", "report": report}).encode(), SPOILT),
    st.builds(lambda report: json.dumps({"phase": "ready", "report": asdict(report)}).encode(), REPORTS),
)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_raise_or_name_a_phase_that_there_is_not(chunks: list[bytes]) -> None:
    reader = EventReader()
    assert all(event.phase in PHASES for chunk in chunks for event in reader.feed(chunk))


@given(st.lists(LINES, max_size=10), st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_the_chunks_in_which_lines_arrive_change_nothing(lines: list[bytes], sizes: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    whole = EventReader().feed(data)
    reader, torn, rest, turn = EventReader(), [], data, 0
    while rest:
        size = sizes[turn % len(sizes)]
        torn += reader.feed(rest[:size])
        rest, turn = rest[size:], turn + 1
    assert list(map(repr, torn)) == list(map(repr, whole))  # a NaN is not equal to itself
    said = [json.dumps({"phase": phase}).encode() for phase in PHASES]
    assert len(whole) >= sum(line in said for line in lines)
    assert {event.phase for event in whole} <= set(PHASES)


def test_lines_between_garbage_are_heard() -> None:
    reader = EventReader()
    assert reader.feed(b'\x00\xff\n{"phase": "lo') == []
    heard = reader.feed(b'ad"}\n42\n[]\nnull\n{"phase": "nowhere"}\n{"phase": ["load"]}\n{"phase"')
    assert heard == [Event("load")]
    assert reader.feed(b': "check"}\n') == [Event("check")]


def test_nesting_that_is_too_deep_and_a_line_without_an_end_cost_neither_an_error_nor_memory() -> None:
    reader = EventReader()
    assert reader.feed(b"[" * 60_000 + b"\n") == []
    for _ in range(100):
        assert reader.feed(b"x" * 60_000) == []
    assert len(reader._rest) <= 4096
    assert reader.feed(b'\n{"phase": "measure"}\n') == [Event("measure")]


@pytest.mark.parametrize(
    "report",
    [
        "1",
        "[1, 2, 3]",
        "{}",
        '{"count": 1, "median_ms": 2}',
        '{"count": "many", "median_ms": 2, "wall_s": 3}',
        '{"count": null, "median_ms": 2, "wall_s": 3}',
        '{"count": Infinity, "median_ms": 2, "wall_s": 3}',
        '{"count": NaN, "median_ms": 2, "wall_s": 3}',
        '{"count": 1, "median_ms": 1' + "0" * 400 + ', "wall_s": 3}',
    ],
)
def test_a_report_that_is_none_leaves_the_phase(report: str) -> None:
    line = f'{{"phase": "ready", "report": {report}}}\n'.encode()
    assert EventReader().feed(line) == [Event("ready")]


@given(st.lists(st.tuples(st.sampled_from(PHASES), st.none() | REPORTS), max_size=10))
def test_what_the_writer_says_the_reader_hears(said: list[tuple[str, RoundReport | None]]) -> None:
    read_end, write_end = os.pipe()
    writer = EventWriter(write_end)
    assert not os.get_inheritable(write_end)
    assert writer.phase == "start"
    for phase, report in said:
        writer.enter(phase, report)
        assert writer.phase == phase
    os.close(write_end)
    assert EventReader().feed(os.read(read_end, 65536)) == [Event(phase, report) for phase, report in said]
    os.close(read_end)


def test_a_line_that_converted_code_has_closed_costs_nothing() -> None:
    read_end, write_end = os.pipe()
    writer = EventWriter(write_end)
    os.close(write_end)
    writer.enter("load")  # nobody is told, and the work goes on
    assert writer.phase == "load"
    os.close(read_end)


@given(st.lists(REPORTS, min_size=1, max_size=30))
def test_each_line_is_short_enough_to_be_written_in_one_piece(reports: list[RoundReport]) -> None:
    longest = max(len(json.dumps({"phase": "first call", "report": asdict(report)})) for report in reports)
    assert longest < 512  # what POSIX promises at the least


@given(st.builds(RoundRequest, st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1e9), st.floats(0, 1e9)))
def test_a_turn_arrives_as_it_was_given(turn: RoundRequest) -> None:
    line = request_line(turn)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_request(line) == turn


def test_the_wish_to_finish_is_no_turn() -> None:
    assert read_request(request_line(None)) is None
