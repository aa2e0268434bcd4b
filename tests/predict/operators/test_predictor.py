"""Predictions from tables of operators: the sum, what a table lacks, and intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import planned
from tests.support.made_operators import convolution, graph, reshape, softmax, table, tensor

from almaflow import machine
from almaflow.errors import AlmaflowError
from almaflow.predict import Operators, PredictorPool
from almaflow.predict.operators import graphs
from almaflow.predict.operators import predictor as predicting
from almaflow.predict.operators.predictor import missing_operators
from almaflow.predict.operators.tables import load_table, save_table, table_path
from almaflow.predict.operators.versions import runtime_versions
from almaflow.records import HardwareSpec, ModelSpec, PredictionRequest
from almaflow.records.operator_calls import operator_us
from almaflow.records.operators import Operator, OperatorTable, OperatorTime

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import PlannedConversion
    from almaflow.records.operators import OperatorGraph

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
    _with(monkeypatch, made := table(*TIMES, rest=REST))
    prediction = Operators().predict(question())
    assert prediction is not None
    share = (GRAPH.weight_bytes / 1e6 - 4.0) / 10.0  # of the weights that are cold
    assert 0.5 < share < 0.6
    assert prediction.latency_ms == pytest.approx((100 + 40 * share + 10 + share + 3 + 4 * 0.5 + 8) / 1000)
    assert (prediction.predictor, prediction.version) == ("operators", made.version)
    assert prediction.low_ms is None  # how far off such sums are, nothing here says


def test_the_interval_is_as_wide_as_chains_were_off(monkeypatch: pytest.MonkeyPatch) -> None:
    _with(monkeypatch, table(*TIMES, rest=REST | {"scale": 1.2, "deviation": 0.1}))
    found = Operators().predict(question())
    _with(monkeypatch, table(*TIMES, rest=REST))
    alone = Operators().predict(question())
    assert found is not None
    assert alone is not None
    overheads_ms = (4 * 0.5 + 8) / 1000
    assert found.latency_ms == pytest.approx(1.2 * (alone.latency_ms - overheads_ms) + overheads_ms)
    assert found.high_ms == pytest.approx(found.latency_ms * math.exp(0.1645))
    assert found.low_ms == pytest.approx(found.latency_ms / math.exp(0.1645))


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


def test_a_conversion_whose_operators_cannot_be_timed_says_which_can() -> None:
    for each in (question("EXPORT+EAGER"), replace(question(), conversion=replace(planned("EAGER"), device="cuda"))):
        assert Operators().predict(each) is None
        assert Operators().lacking(each) == (
            "operators are timed one by one on the CPU only, for ONNX_CPU, OPENVINO, EAGER; ask another predictor"
        )


def test_a_conversion_that_fails_costs_only_its_own_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    def graph_of(_: object, conversion: PlannedConversion, threads: int) -> OperatorGraph:
        if conversion.name == "OPENVINO":
            message = f"no conversion with {threads} threads"
            raise AlmaflowError(message)
        return GRAPH

    monkeypatch.setattr(predicting, "graph_of", graph_of)
    _with(monkeypatch, table(*TIMES, rest=REST))
    said: list[str] = []
    pool = PredictorPool(said.append)
    assert pool.ask(Operators(), question("OPENVINO")) is None
    pool.miss(Operators(), question("OPENVINO"), known=True)
    assert said == ["predictor operators: no prediction of OPENVINO on a CPU; no conversion with 2 threads"]
    assert pool.ask(Operators(), question()) is not None


def test_a_conversion_that_failed_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def found(model: ModelSpec, *_: object) -> OperatorGraph:
        tried.append(model.name)
        message = "it failed"
        raise AlmaflowError(message)

    monkeypatch.setattr(graphs, "_found", found)
    monkeypatch.setattr(graphs, "_FAILED", {})
    for _ in range(2):
        with pytest.raises(AlmaflowError, match=r"^it failed$"):
            graphs.graph_of(ModelSpec("own", target="own.model"), planned("ONNX_CPU"), 2)
    assert tried == ["own"]


def test_a_predictor_that_cannot_say_what_it_lacks_costs_nothing_else() -> None:
    class Broken:
        name, version = "broken", "1"

        def predict(self, _: PredictionRequest) -> None: ...

        def lacking(self, _: PredictionRequest) -> str:
            raise KeyError

    said: list[str] = []
    PredictorPool(said.append).miss(Broken(), question())
    assert said == [
        "predictor broken: no prediction of ONNX_CPU on a CPU; docs/prediction.md says what each needs to know"
    ]


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


def test_an_interval_is_that_of_what_was_interpolated(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt = [replace(each, source="configs") for each in TIMES]
    _with(monkeypatch, table(*learnt, rest=REST))
    monkeypatch.setattr(predicting, "interpolated_shares", lambda made, found: (predicting.shares_of(made, found), 0.1))
    made = Operators(interpolate=True).predict(question())
    assert made is not None
    assert made.low_ms == pytest.approx(made.latency_ms / 1.1788, rel=1e-4)  # exp(1.645 x 0.1)
    assert made.high_ms == pytest.approx(made.latency_ms * 1.1788, rel=1e-4)


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


def _looks(monkeypatch: pytest.MonkeyPatch, directory: Path, cpuinfo: str, cores: int = 2) -> None:
    (directory / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    monkeypatch.setattr(machine.cpus, "CPUINFO", directory / "cpuinfo")
    looked = replace(machine.describe(), cpu="AMD EPYC", physical_cores=cores)
    monkeypatch.setattr(machine, "describe", lambda: looked)


GENERIC = "model name : AMD EPYC\nmodel : 17\nflags : fpu avx2 avx512f pti\n"


@pytest.mark.parametrize(
    ("cpuinfo", "cores", "found"),
    [
        (GENERIC, 2, True),
        (GENERIC.replace(" pti", ""), 2, True),  # a flag of the system's kernel
        (GENERIC.replace(" avx512f", ""), 2, False),
        (GENERIC.replace("17", "49"), 2, False),
        (GENERIC, 8, False),
    ],
)
def test_another_processor_of_the_same_name_has_another_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str, cores: int, *, found: bool
) -> None:
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path))
    _looks(monkeypatch, tmp_path, GENERIC)
    save_table(OperatorTable("ONNX_CPU", "cpu", "AMD EPYC", 2, runtime_versions("ONNX_CPU"), rest=REST))
    _looks(monkeypatch, tmp_path, cpuinfo, cores)
    assert (load_table("ONNX_CPU", HardwareSpec("AMD EPYC", "cpu", 2)) is not None) is found


def test_a_processor_with_a_longer_name_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path))
    _looks(monkeypatch, tmp_path, GENERIC)
    save_table(made := OperatorTable("ONNX_CPU", "cpu", "AMD EPYC", 2, runtime_versions("ONNX_CPU"), rest=REST))
    assert load_table("ONNX_CPU", HardwareSpec("office", "cpu", 2, "AMD EPYC, 2 cores")) == made
    for other in ("AMD EPYC 9654, 2 cores", "AMD EPYC, 96 cores"):
        assert load_table("ONNX_CPU", HardwareSpec("other", "cpu", 2, other)) is None
