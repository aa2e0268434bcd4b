"""Predictions from tables of operators: the sum, what a table lacks, and intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import planned
from tests.support.made_operators import convolution, graph, reshape, softmax, table, tensor

from almaflow import machine
from almaflow.predict import Operators, PredictorPool
from almaflow.predict.operators import predictor as predicting
from almaflow.predict.operators.call import operator_us
from almaflow.predict.operators.predictor import interval, missing_operators
from almaflow.predict.operators.tables import load_table, save_table, table_path
from almaflow.predict.operators.versions import runtime_versions
from almaflow.records import HardwareSpec, ModelSpec, PredictionRequest
from almaflow.records.operators import Operator, OperatorTable, OperatorTime

if TYPE_CHECKING:
    from pathlib import Path

BIG, SMALL = convolution(512, 512, 14), convolution(16, 16, 14)
REST = {"call_us": 8.0, "node_us": 0.5, "cache_mb": 4.0, "spill_mb": 10.0}
TIMES = (OperatorTime(BIG, 100.0, 140.0), OperatorTime(SMALL, 10.0, 11.0), OperatorTime(softmax(4, 8), 3.0))
GRAPH = graph(BIG, SMALL, reshape(4, 8), softmax(4, 8))


def question(conversion: str = "ONNX_CPU") -> PredictionRequest:
    return PredictionRequest(ModelSpec("m"), HardwareSpec("a CPU", "cpu", 2), planned(conversion), 1)


@pytest.fixture(autouse=True)
def _graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "graph_of", lambda *_: GRAPH)


def _with(monkeypatch: pytest.MonkeyPatch, found: OperatorTable | None) -> None:
    monkeypatch.setattr(predicting, "load_table", lambda *_: found)


def test_a_call_is_its_operators_their_nodes_and_its_own_overhead(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, made := table(*TIMES, rest=REST, control_ms=0.5))
    prediction = Operators().predict(question())
    assert prediction is not None
    share = (GRAPH.weight_bytes / 1e6 - 4.0) / 10.0  # of the weights that are cold
    assert 0.5 < share < 0.6
    assert prediction.latency_ms == pytest.approx((100 + 40 * share + 10 + share + 3 + 4 * 0.5 + 8) / 1000)
    assert (prediction.predictor, prediction.version) == ("operators", made.version)
    assert prediction.low_ms is None
    assert prediction.control_ms == 0.5


def test_each_operator_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, table(*TIMES, rest=REST))
    shares = list(Operators().costs(question()))
    assert [each.operation.kind for each in shares] == [each.kind for each in GRAPH.operators]
    assert shares[2].total_ms == pytest.approx(0.0005)  # a view takes the time of a node
    made = Operators().predict(question())
    assert made is not None
    assert sum(each.total_ms for each in shares) == pytest.approx(made.latency_ms - 0.008)


def test_without_an_operator_there_is_no_prediction_but_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, table(*TIMES[1:], rest=REST))
    assert Operators().predict(question()) is None
    assert list(Operators().costs(question())) == []
    said: list[str] = []
    pool = PredictorPool(said.append)
    pool.miss(Operators(), question(), known=True)
    pool.miss(Operators(), question(), known=True)
    (line,) = said
    assert line.startswith("predictor operators: no prediction of ONNX_CPU on a CPU; 1 operators of ONNX_CPU were not ")
    assert line.endswith("timed here; run `almaflow calibrate --for model=...` with the model's overrides")


def test_without_a_table_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, None)
    assert Operators().predict(question()) is None
    assert "calibrate --for" in str(Operators().lacking(question()))
    assert "calibrate --operators" in str(Operators(interpolate=True).lacking(question()))


def test_a_conversion_without_operators_is_none_of_its_business() -> None:
    assert Operators().predict(question("EXPORT+EAGER")) is None
    assert Operators().lacking(question("EXPORT+EAGER")) is None


def test_what_does_not_run_alone_counts_as_a_node_where_it_moves_little() -> None:
    tiny = Operator("sizes", "Reshape", {}, (tensor(4),), (tensor(4),))
    large = Operator("large", "Other", {}, (tensor(64, 1024),), (tensor(64, 1024),))
    untimed = {tiny.key: "its shape is an input", large.key: "unknown"}
    assert missing_operators(graph(tiny, large), table(untimed=untimed)) == [large]


@given(st.floats(0.0, 1e4), st.floats(0.0, 1e4))
def test_more_cold_weights_never_make_a_call_faster(one: float, other: float) -> None:
    few, many = sorted((one, other))
    times = [OperatorTime(BIG, 100.0, 150.0)]
    sums = [sum(operator_us(graph(BIG), times, REST | {"cache_mb": mb})) for mb in (many, few)]
    assert sums[0] <= sums[1]


def test_ninety_of_a_hundred_errors_lie_in_the_interval() -> None:
    errors = [0.8 + 0.004 * number for number in range(101)]
    low, high = interval(errors)
    assert low == pytest.approx(0.82, abs=0.001)
    assert high == pytest.approx(1.18, abs=0.001)
    assert interval(errors[:5]) == (None, None)
    wider = interval(errors, 0.1)
    assert wider[0] is not None
    assert low is not None
    assert wider[0] < low


def test_a_table_is_found_on_its_own_hardware_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path))
    cpu, versions = machine.describe().cpu, runtime_versions("ONNX_CPU")
    made = OperatorTable("ONNX_CPU", "cpu", cpu, 2, versions, rest=REST)
    assert save_table(made) == table_path("ONNX_CPU", cpu, 2, versions)
    here = HardwareSpec("here", "cpu", 2, description=f"{cpu}, 2 cores")
    assert load_table("ONNX_CPU", here) == made
    assert load_table("ONNX_CPU", HardwareSpec("here", "cpu", 1, description=cpu)) is None
    assert load_table("ONNX_CPU", HardwareSpec("h100", "cpu", 2, description="another")) is None
    assert load_table("OPENVINO", here) is None
