"""Operators: what their keys depend on, and what JSON keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.made_operators import convolution, graph, softmax, table

from almaflow.records import from_dict, read_json, to_dict, write_json
from almaflow.records.operators import Operator, OperatorGraph, OperatorTable, OperatorTensor, OperatorTime, cold_share

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = st.lists(st.integers(1, 4096), max_size=5).map(tuple)
TENSORS = st.builds(
    OperatorTensor,
    st.sampled_from(["float32", "int64"]),
    SHAPES,
    st.sampled_from(["", "channels_last"]),
    st.booleans(),
    st.none() | st.lists(st.floats(-1e6, 1e6), max_size=3).map(tuple),
    st.floats(0, 1e9),
)
PLAIN = st.integers(-9, 9) | st.floats(-1, 1) | st.text(max_size=5) | st.lists(st.integers(0, 9), max_size=3)
OPERATORS = st.builds(
    Operator,
    st.text(max_size=5),
    st.text(max_size=5),
    st.dictionaries(st.text(max_size=5), PLAIN, max_size=3),
    st.lists(st.none() | TENSORS, max_size=3).map(tuple),
    st.lists(TENSORS, max_size=2).map(tuple),
    st.floats(0, 1e12),
)


@given(OPERATORS)
def test_json_keeps_an_operator_and_its_key(operator: Operator) -> None:
    again = from_dict(Operator, to_dict(operator))
    assert again == operator
    assert again.key == operator.key


def test_the_key_is_of_the_work_and_not_of_the_name() -> None:
    one = convolution()
    assert replace(one, name="other", label="features.0", flops=1.0).key == one.key
    assert convolution(side=14).key != one.key
    assert replace(one, attributes={"group": 2}).key != one.key
    assert replace(one, kind="Conv").key != one.key


def test_bytes_are_those_of_weights_and_of_what_moves() -> None:
    one = convolution(64, 32, 28, 3)
    assert one.weight_bytes == 4 * 32 * 64 * 9
    assert one.read_bytes == 4 * 64 * 28**2
    assert one.written_bytes == 4 * 32 * 28**2
    assert graph(one, one).weight_bytes == 2 * one.weight_bytes


def test_a_table_is_the_same_after_its_file(tmp_path: Path) -> None:
    made = table(OperatorTime(softmax(4, 8), 3.5, None, 0.1), rest={"call_us": 8.0}, errors=(0.9, 1.1))
    write_json(tmp_path / "table.json", made)
    again = read_json(tmp_path / "table.json", OperatorTable)
    assert again == made
    assert again.version == made.version
    assert replace(made, rest={"call_us": 9.0}).version != made.version


def test_a_graph_is_the_same_after_its_file(tmp_path: Path) -> None:
    write_json(tmp_path / "graph.json", graph(convolution(), softmax(1, 2)))
    assert read_json(tmp_path / "graph.json", OperatorGraph) == graph(convolution(), softmax(1, 2))


@pytest.mark.parametrize(("mb", "share"), [(1.0, 0.0), (8.0, 0.0), (10.0, 0.5), (12.0, 1.0), (500.0, 1.0)])
def test_weights_leave_the_caches_from_one_size_to_another(mb: float, share: float) -> None:
    assert cold_share(mb, {"cache_mb": 8.0, "spill_mb": 4.0}) == share


def test_without_sizes_all_weights_are_warm() -> None:
    assert cold_share(500.0, {}) == 0.0
