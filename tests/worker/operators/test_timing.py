"""Timing many operators: floors of visits, what fails, and what is built at a time."""

from __future__ import annotations

import json
import os
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.made_operators import convolution, softmax

from almaflow.records import MachineState, to_dict
from almaflow.worker.operators import timing
from almaflow.worker.operators.cold_share import cache_of
from almaflow.worker.operators.floors import floor, samples_until
from almaflow.worker.operators.timing import TOGETHER, TOGETHER_BYTES, _groups, time_group

if TYPE_CHECKING:
    from almaflow.records.operators import Operator


class Made:
    """An operator that takes a known time."""

    def __init__(self, operator: Operator) -> None:
        if operator.kind == "Softmax":
            message = "no such kernel"
            raise NotImplementedError(message)
        self.calls = 0

    def call_us(self) -> float:
        self.calls += 1
        return 12.0 if self.calls % 3 else 50.0  # others take the processor at times

    def cold_us(self) -> float:
        return 20.0


def test_an_operator_takes_its_floor_without_the_overhead() -> None:
    one, small = convolution(), convolution(8, 8, 7, 1)
    assert small.weight_bytes < 1000
    lines = list(time_group([one, softmax(4, 8), small], Made, 2.0, 3))
    assert lines == [
        {"failed": softmax(4, 8).key, "why": "NotImplementedError: no such kernel"},
        {"timed": one.key, "warm_us": 10.0, "cold_us": 18.0, "spread": 0.0},
        {"timed": small.key, "warm_us": 10.0, "cold_us": None, "spread": 0.0},
    ]


def test_the_load_by_others_is_told_with_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(
        start=lambda _: None, rest=lambda _: {"call_us": 1.0}, overhead_us=lambda: 2.0, TimedOperator=Made
    )
    states = iter([MachineState(others_cpus=0.5, steal_cpus=0.25), MachineState(others_cpus=1.5), MachineState()])
    watched: list[int] = []
    watch = SimpleNamespace(begin=watched.append, end=lambda: next(states))
    monkeypatch.setattr(timing, "import_module", lambda _: module)
    monkeypatch.setattr(timing, "StateWatch", lambda _: watch)
    monkeypatch.setattr(timing, "TOGETHER", 1)
    operators = [to_dict(convolution()), to_dict(convolution(side=14))]
    task = {"conversion": "ONNX_CPU", "threads": 1, "operators": operators, "passes": 1, "rest": True}
    monkeypatch.setattr("sys.stdin", StringIO(json.dumps(task) + "\n"))
    answers: list[Any] = []
    timing.main(answers.append)
    assert answers[0] == {"rest": {"call_us": 1.0}, "others_cpus": 0.75}
    assert [each.get("others_cpus") for each in answers[1:3]] == [1.5, None]
    assert answers[3] == {"done": 2}
    assert watched == [os.getppid()] * 3  # this process is no other, and neither is the one that shows progress


@given(st.lists(st.integers(1, 2048), max_size=200))
def test_groups_have_all_operators_in_their_order_and_a_bounded_size(channels: list[int]) -> None:
    operators = [convolution(each, each, 7, 1) for each in channels]
    groups = list(_groups(operators))
    assert [each for group in groups for each in group] == operators
    for group in groups:
        assert 1 <= len(group) <= TOGETHER
        assert len(group) == 1 or sum(each.weight_bytes for each in group) <= TOGETHER_BYTES


@given(st.lists(st.floats(1.0, 1e6), min_size=2))
def test_a_floor_is_one_of_the_lower_half(samples: list[float]) -> None:
    assert min(samples) <= floor(samples) <= sorted(samples)[len(samples) // 2]


def test_calls_are_at_least_the_fewest_and_at_most_the_most() -> None:
    assert len(samples_until(lambda: 1.0, 0.0, 4, 60)) == 4
    assert len(samples_until(lambda: 1.0, 1e9, 4, 60)) == 60


@pytest.mark.parametrize(("cache_mb", "spill_mb"), [(4.0, 8.0), (16.0, 16.0), (1.0, 32.0)])
def test_sizes_of_the_caches_are_found_from_shares(cache_mb: float, spill_mb: float) -> None:
    sizes = (2.4, 4.7, 9.4, 14.2, 18.9, 28.3, 37.7, 56.6, 94.4)
    shares = {mb: min(1.0, max(0.0, (mb - cache_mb) / spill_mb)) for mb in sizes}
    assert cache_of(shares) == {"cache_mb": cache_mb, "spill_mb": spill_mb}
