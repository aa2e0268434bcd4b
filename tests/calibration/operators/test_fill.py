"""Filling a table: what is timed, what is kept when it stops, and what does not run alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from tests.support.made_operators import convolution, reshape, softmax, table

from almaflow.calibration.operators import fill, models
from almaflow.calibration.operators.fill import busy_warning, fill_table
from almaflow.calibration.operators.shapes import KINDS, LARGEST_GFLOP, layers
from almaflow.errors import AlmaflowError
from almaflow.predict.operators.tables import read_table
from almaflow.records import HardwareSpec
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


def test_what_others_disturbed_is_timed_again_and_the_shorter_time_counts(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = convolution(), convolution(side=14)

    def timed(made: OperatorTable, operators: Sequence[Operator], *, quick: bool) -> Iterator[dict[str, Any]]:
        del quick
        if made.rest_is_wanted:
            yield {"rest": {"call_us": 10 * others}, "others_cpus": others}
        for each in operators:
            asked.append(each.key)
            warm_us = 5.0 + others if each.key == one.key else 9.0 - others
            yield {"timed": each.key, "warm_us": warm_us, "cold_us": warm_us, "spread": 0.0, "others_cpus": others}

    monkeypatch.setattr(fill, "_timed", timed)
    others = 0.5  # a quarter of the table's two threads
    busy, _ = _filled(table(), one, two)
    assert busy.disturbed == {one.key, two.key}
    warning = busy_warning(busy, [one, two], "do this")
    assert warning == (
        "ONNX_CPU: others used the processors while 2 of 2 operators were timed, which may be too long; do this"
    )
    asked.clear()
    others = 0.49
    quiet, _ = _filled(busy, one, two)
    assert asked == [one.key, two.key]
    assert [quiet.entries[each.key].warm_us for each in (one, two)] == [5.49, 8.5]
    assert quiet.rest == {"call_us": 4.9}
    assert quiet.disturbed == set()
    assert busy_warning(quiet, [one, two], "do this") is None
    asked.clear()
    assert _filled(quiet, one, two) == (quiet, [])
    assert asked == []


@pytest.mark.usefixtures("asked")
def test_the_less_disturbed_measurement_of_the_rest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    others = iter([1.0, 2.0, 0.9])

    def timed(*_: object, quick: bool) -> Iterator[dict[str, Any]]:
        del quick
        now = next(others)
        yield {"rest": {"call_us": now}, "others_cpus": now}

    monkeypatch.setattr(fill, "_timed", timed)
    made = table()
    found = []
    for _ in range(3):
        made, _ = _filled(made)
        found.append(made.rest["call_us"])
    assert found == [1.0, 1.0, 0.9]
    assert "while the overheads of a call were timed" in str(busy_warning(made, [], "do this"))


@pytest.mark.usefixtures("asked")
def test_what_was_timed_is_kept_where_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    one = convolution()

    def timed(*_: object, quick: bool) -> Iterator[dict[str, Any]]:
        del quick
        yield {"rest": REST}
        yield {"failed": softmax(4, 8).key, "why": "no such kernel"}
        yield {"timed": one.key, "warm_us": 5.0, "cold_us": None, "spread": 0.0}
        message = "it crashed"
        raise AlmaflowError(message)

    monkeypatch.setattr(fill, "_timed", timed)
    with pytest.raises(AlmaflowError, match="it crashed"):
        _filled(table(), softmax(4, 8), one, convolution(side=14))
    kept = read_table("ONNX_CPU", "a CPU", 2)
    assert (set(kept.entries), set(kept.untimed), kept.rest) == ({one.key}, {softmax(4, 8).key}, REST)


@pytest.mark.usefixtures("asked")
def test_a_calibration_that_waited_keeps_what_the_other_one_has_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "runtime_versions", lambda _: {"onnxruntime": "1.0"})
    hardware = HardwareSpec("here", "cpu", 2)

    @contextmanager
    def other_first(*_: object) -> Iterator[None]:
        fill_table(fill.table_here("ONNX_CPU", hardware), [convolution()], "model", print, print)
        yield

    monkeypatch.setattr(models, "alone", other_first)
    made = models._filled("ONNX_CPU", hardware, [convolution(side=14)], Mock())
    assert set(made.entries) == {convolution().key, convolution(side=14).key}


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
