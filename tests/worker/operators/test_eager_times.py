"""The times of eager's operators, and what a call takes beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from almaflow.records.operator_calls import call_us, operator_us
from almaflow.records.operators import Operator, OperatorGraph, OperatorTime
from almaflow.worker.operators.eager_graph import recorded
from almaflow.worker.operators.eager_rest import nonnegative_fit
from almaflow.worker.operators.eager_timer import TimedOperator

CONVOLUTION, OTHER = Operator("a", "aten.convolution.default"), Operator("b", "aten.relu_.default")


def test_overheads_are_of_the_operators_kind_and_of_what_the_graph_counts() -> None:
    graph = OperatorGraph("EAGER", (CONVOLUTION, OTHER), facts={"modules": 3.0, "views": 2.0, "unpriced": 9.0})
    times = [OperatorTime(CONVOLUTION, 50.0), OperatorTime(OTHER, 5.0)]
    rest = {
        "node_us": 2.0,
        "node_us/aten.convolution.default": 20.0,
        "modules_us": 1.0,
        "views_us": 0.5,
        "call_us": 7.0,
    }
    assert operator_us(graph, times, rest) == [70.0, 7.0]
    assert call_us(graph, rest) == 7.0 + 3.0 + 1.0


def test_what_operators_take_longer_in_a_model_does_not_lengthen_the_overheads() -> None:
    graph = OperatorGraph("ONNX_CPU", (CONVOLUTION, OTHER))
    times = [OperatorTime(CONVOLUTION, 50.0, 70.0), None]
    rest = {"node_us": 2.0, "scale": 1.1, "call_us": 7.0}
    assert operator_us(graph, times, rest) == pytest.approx([57.0, 2.0])


def test_an_operator_without_a_time_has_the_overhead_alone() -> None:
    graph = OperatorGraph("EAGER", (OTHER,))
    assert operator_us(graph, [None], {"node_us": 2.0}) == [2.0]


@given(st.floats(0, 100), st.floats(0, 100))
def test_costs_are_found_again_from_their_sums(of_one: float, of_other: float) -> None:
    counts = [[19, 34], [11, 29], [8, 20], [1, 30]]
    gaps = [one * of_one + other * of_other for one, other in counts]
    assert nonnegative_fit(counts, gaps) == pytest.approx((of_one, of_other), abs=1e-6)


@given(st.lists(st.floats(-1000, 1000), min_size=4, max_size=4))
def test_no_cost_is_below_zero_and_no_other_is_nearer(gaps: list[float]) -> None:
    counts = np.array([[19, 34], [11, 29], [8, 20], [1, 30]], float)
    costs = np.array(nonnegative_fit(counts.tolist(), gaps))
    assert (costs >= 0).all()
    miss = np.square(counts @ costs - gaps).sum()
    for step in ([0.5, 0], [0, 0.5], [0.5, 0.5], [-0.5, 0.5], [0.5, -0.5], [-0.5, 0], [0, -0.5]):
        other = np.maximum(0, costs + step)
        assert np.square(counts @ other - gaps).sum() >= miss - 1e-6 * (1 + miss)


def test_each_call_takes_other_weights_and_has_a_time() -> None:
    (operator,) = recorded(torch.nn.Linear(256, 256), [torch.rand(2, 256)])[0]
    timed = TimedOperator(operator)
    with torch.no_grad():
        assert all(timed.call_us() > 0 for _ in range(3))
