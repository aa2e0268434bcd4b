"""The line from the worker to its parent survives whatever converted code writes into it."""

from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from almaflow.measure.events import PHASES, EventReader, EventWriter

LINES = st.one_of(
    st.binary(max_size=60).map(lambda garbage: garbage.replace(b"\n", b"")),
    st.sampled_from(PHASES).map(lambda phase: json.dumps({"phase": phase}).encode()),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(PHASES),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("phase"), inner),
        max_leaves=4,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_raise_or_name_a_phase_that_there_is_not(chunks: list[bytes]) -> None:
    reader = EventReader()
    assert all(phase in PHASES for chunk in chunks for phase in reader.feed(chunk))


@given(st.lists(LINES, max_size=10), st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_the_chunks_in_which_lines_arrive_change_nothing(lines: list[bytes], sizes: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    whole = EventReader().feed(data)
    reader, torn, rest, turn = EventReader(), [], data, 0
    while rest:
        size = sizes[turn % len(sizes)]
        torn += reader.feed(rest[:size])
        rest, turn = rest[size:], turn + 1
    assert torn == whole
    said = [json.dumps({"phase": phase}).encode() for phase in PHASES]
    assert len(whole) >= sum(line in said for line in lines)
    assert set(whole) <= set(PHASES)


def test_lines_between_garbage_are_heard() -> None:
    reader = EventReader()
    assert reader.feed(b'\x00\xff\n{"phase": "lo') == []
    assert reader.feed(b'ad"}\n42\n[]\nnull\n{"phase": "nowhere"}\n{"phase": ["load"]}\n{"phase"') == ["load"]
    assert reader.feed(b': "check"}\n') == ["check"]


def test_nesting_that_is_too_deep_and_a_line_without_an_end_cost_neither_an_error_nor_memory() -> None:
    reader = EventReader()
    assert reader.feed(b"[" * 60_000 + b"\n") == []
    for _ in range(100):
        assert reader.feed(b"x" * 60_000) == []
    assert len(reader._rest) <= 4096
    assert reader.feed(b'\n{"phase": "measure"}\n') == ["measure"]


def test_what_the_writer_says_the_reader_hears() -> None:
    read_end, write_end = os.pipe()
    writer = EventWriter(write_end)
    assert not os.get_inheritable(write_end)
    for phase in PHASES:
        writer.enter(phase)
        assert writer.phase == phase
    os.close(write_end)
    assert EventReader().feed(os.read(read_end, 65536)) == list(PHASES)
    os.close(read_end)
    writer.enter("load")  # closed, as converted code may do: the work goes on
    assert writer.phase == "load"
