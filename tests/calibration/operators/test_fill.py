"""Filling a table: what is timed, what is kept when it stops, and what does not run alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.made_operators import convolution, reshape, softmax, table

from almaflow.calibration.operators import fill
from almaflow.calibration.operators.fill import fill_table
from almaflow.calibration.operators.shapes import KINDS, LARGEST_GFLOP, layers
from almaflow.predict.operators.tables import read_table
from almaflow.records.operators import OperatorTable, OperatorTime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from almaflow.records.operators import Operator

REST = {"call_us": 8.0}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The keys that the process which times operators was asked for; it does not time softmax."""
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path))
    monkeypatch.setattr("almaflow.predict.operators.tables.runtime_versions", lambda _: {"onnxruntime": "1.0"})
    keys: list[str] = []

    def timed(made: OperatorTable, operators: Sequence[Operator], *, quick: bool) -> Iterator[dict[str, Any]]:
        assert not quick
        keys.extend(each.key for each in operators)
        if not made.rest:
            yield {"rest": REST}
        for each in operators:
            if each.kind == "Softmax":
                yield {"failed": each.key, "why": "no such kernel"}
            else:
                yield {"timed": each.key, "warm_us": 5.0, "cold_us": 6.0, "spread": 0.0}

    monkeypatch.setattr(fill, "_timed", timed)
    return keys


def _filled(made: OperatorTable, *operators: Operator, until: float | None = None) -> tuple[OperatorTable, list[str]]:
    said: list[str] = []
    steps: list[int] = []
    return fill_table(made, operators, "model", said.append, steps.append, until), said


def test_each_operator_is_timed_once_and_views_never(asked: list[str]) -> None:
    one = convolution()
    made, said = _filled(table(), one, reshape(4, 8), convolution())
    assert asked == [one.key]
    assert made.entries == {one.key: OperatorTime(one, 5.0, 6.0, 0.0, "model")}
    assert made.rest == REST
    assert said == []
    assert read_table("ONNX_CPU", "a CPU", 2) == made


def test_what_is_known_is_not_timed_again(asked: list[str]) -> None:
    made, _ = _filled(table(), convolution())
    asked.clear()
    again, _ = _filled(made, convolution())
    assert asked == []
    assert again == made
    more, _ = _filled(made, convolution(), convolution(side=14))
    assert asked == [convolution(side=14).key]
    assert len(more.entries) == 2


@pytest.mark.usefixtures("asked")
def test_what_does_not_run_alone_is_said_and_remembered() -> None:
    made, said = _filled(table(), softmax(4, 8), convolution())
    assert said == ["ONNX_CPU: Softmax does not run alone: no such kernel"]
    assert made.untimed == {softmax(4, 8).key: "no such kernel"}
    assert _filled(made, softmax(4, 8)) == (made, [])


@pytest.mark.usefixtures("asked")
def test_it_stops_in_time_with_what_it_has() -> None:
    made, _ = _filled(table(), convolution(), convolution(side=14), until=0.0)
    assert len(made.entries) == 1
    assert read_table("ONNX_CPU", "a CPU", 2) == made


def test_layers_are_the_same_each_time_and_of_every_kind() -> None:
    few, many = layers(60), layers(200)
    assert many[:60] == few
    assert {each["kind"] for each in many} >= {"conv", "linear", "product", "softmax", "max_pool"}
    assert all(min(each["shape"]) >= 1 for each in many)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_each_kind_can_be_small_enough(kind: str) -> None:
    from random import Random

    draw = Random(1)  # noqa: S311 - sizes, not secrets
    assert any(KINDS[kind][1](draw)[1] <= LARGEST_GFLOP for _ in range(50))
