"""The roofline by hand, and what costs nothing to predict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import planned

from almaflow.predict import BASELINES, EagerRatio, Given, LastMeasured, Roofline, with_baselines
from almaflow.predict.roofline import level_of
from almaflow.records import (
    HardwareSpec,
    Level,
    Limits,
    ModelSpec,
    Operation,
    PastMeasurement,
    PredictionRequest,
    Workload,
)
from almaflow.records.prediction import BASELINE_NAMES

LIMITS = Limits(
    {"float32": 100.0, "int8": 400.0},
    bandwidth=(Level("L2", 100.0, 1.0), Level("DRAM", 10.0)),
    overhead_us=2.0,
    power_w=50.0,
)
PRODUCT = Operation("addmm", "matmul", 2e9, 1e5, 2e5, 1e5, (1, 1), "float32")
RELU = Operation("relu", "elementwise", 1e5, 4e5, 0.0, 4e5, (1, 1), "float32", fusible=True)
PAST = PastMeasurement("resnet18", "cpu", "ONNX_CPU", 1, 2, 10.0, 9.5, "f1", "j1", "r1", 100.0, speedup_vs_eager=2.0)


def question(
    name: str = "EAGER", *operations: Operation, limits: Limits | None = LIMITS, dtype: str = "float32"
) -> PredictionRequest:
    return PredictionRequest(
        ModelSpec("resnet18"),
        HardwareSpec("cpu", "cpu", 2, limits=limits),
        planned(name, dtype=dtype),
        1,
        Workload(operations, parameters_mb=5.0, batch_size=1) if operations else None,
        fingerprint="f1",
    )


def test_an_operation_takes_its_arithmetic_or_its_traffic_and_the_overhead() -> None:
    made = Roofline().predict(question("EAGER", PRODUCT))
    assert made is not None
    assert made.latency_ms == pytest.approx(20.0 + 0.002)  # 2e9 / 100e9 s; the traffic is far less
    slow = replace(PRODUCT, flops=1.0, read_bytes=5e6)
    made = Roofline().predict(question("EAGER", slow))
    assert made is not None
    # 5.1 MB of activations do not fit into L2, and neither do 5 MB of weights of which it reads 0.2.
    assert made.latency_ms == pytest.approx(1000 * (5.1e6 / 10e9 + 2e5 / 10e9) + 0.002)
    assert made.energy_j == pytest.approx(50.0 * made.latency_ms / 1000)


def test_a_compiler_joins_what_it_can() -> None:
    eager = Roofline().predict(question("EAGER", PRODUCT, RELU))
    compiled = Roofline().predict(question("COMPILE_INDUCTOR_DEFAULT", PRODUCT, RELU))
    alone = Roofline().predict(question("EAGER", PRODUCT))
    assert eager
    assert compiled
    assert alone
    assert eager.latency_ms > compiled.latency_ms == alone.latency_ms


def test_narrow_types_take_their_own_rate_and_fewer_bytes() -> None:
    whole = next(Roofline().costs(question("EAGER", PRODUCT)))
    narrow = next(Roofline().costs(question("ONNX_CPU_INT8_STATIC", PRODUCT, dtype="int8")))
    assert narrow.arithmetic_ms == pytest.approx(whole.arithmetic_ms / 4)
    # A quarter of the bytes, and the weights now fit into nothing smaller: 1.25 MB.
    assert narrow.memory_ms == pytest.approx(whole.memory_ms / 4)
    indices = replace(PRODUCT, dtype="int64")
    assert next(Roofline().costs(question("X", indices, dtype="int8"))).memory_ms == pytest.approx(whole.memory_ms)


def test_convolutions_have_the_rate_of_their_library() -> None:
    limits = replace(LIMITS, conv_gflops={"float32": 500.0})
    conv = replace(PRODUCT, name="convolution", kind="conv_pointwise")
    product, faster = Roofline().costs(question("EAGER", PRODUCT, conv, limits=limits))
    assert faster.arithmetic_ms == pytest.approx(product.arithmetic_ms / 5)
    (narrow,) = Roofline().costs(question("X", conv, limits=limits, dtype="int8"))
    assert narrow.arithmetic_ms == pytest.approx(product.arithmetic_ms / 4)


@pytest.mark.parametrize(
    "asked",
    [
        question("EAGER", PRODUCT, limits=None),
        question("EAGER", PRODUCT, limits=Limits({"float32": 1.0})),
        question("EAGER"),
    ],
)
def test_without_limits_or_operations_it_has_nothing_to_say(asked: PredictionRequest) -> None:
    assert Roofline().predict(asked) is None


@given(st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_more_data_never_get_a_faster_level(one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert level_of(LIMITS, small).gb_s >= level_of(LIMITS, large).gb_s


def test_the_last_of_the_same_fingerprint() -> None:
    other = replace(PAST, fingerprint="f2", latency_ms=1.0)
    older = replace(PAST, latency_ms=12.0, at=50.0)
    made = LastMeasured().predict(replace(question(), past=(other, PAST, older)))
    assert made is not None
    assert made.latency_ms == 10.0
    assert LastMeasured().predict(replace(question(), past=(other,))) is None
    assert LastMeasured().predict(replace(question(), fingerprint=None, past=(PAST,))) is None


def test_eager_times_the_middle_share_of_other_models() -> None:
    past = (
        replace(PAST, speedup_vs_eager=100.0),  # the same model
        replace(PAST, model="a", speedup_vs_eager=2.0),
        replace(PAST, model="a", speedup_vs_eager=50.0),  # of an earlier night
        replace(PAST, model="b", speedup_vs_eager=4.0),
        replace(PAST, model="c", speedup_vs_eager=5.0),
        replace(PAST, model="c", conversion="OTHER", speedup_vs_eager=99.0),
    )
    asked = replace(question("ONNX_CPU"), past=past, eager_ms=40.0)
    made = EagerRatio().predict(asked)
    assert made is not None
    assert made.latency_ms == pytest.approx(40.0 / 4.0)
    assert EagerRatio().predict(replace(asked, eager_ms=None)) is None
    eager = replace(PAST, conversion="EAGER", latency_ms=20.0)
    made = EagerRatio().predict(replace(asked, eager_ms=None, past=(*past, eager)))
    assert made is not None
    assert made.latency_ms == pytest.approx(5.0)
    assert EagerRatio().predict(replace(asked, conversion=planned("EAGER"))) is None
    assert EagerRatio().predict(replace(asked, past=past[:1])) is None


def test_baselines_come_after_what_is_named_and_once() -> None:
    names = [each.name for each in with_baselines((Given(1.0), Roofline()))]
    assert names == ["given", "roofline", "last_measured", "eager_ratio"]


def test_the_records_name_the_baselines_that_are_asked() -> None:
    assert tuple(each.name for each in BASELINES) == BASELINE_NAMES


@pytest.mark.parametrize(
    ("of_past", "asked", "known"),
    [
        ({}, {}, True),
        ({"code": "1"}, {"code": "1"}, True),
        ({"code": "1"}, {"code": "2"}, False),
        ({}, {"code": "1"}, False),
    ],
)
def test_eager_of_another_version_of_the_model_is_not_taken(
    of_past: dict[str, str], asked: dict[str, str], known: bool
) -> None:
    eager = replace(PAST, conversion="EAGER", digests=of_past)
    other = replace(PAST, model="vgg11", run_id="r2")
    made = EagerRatio().predict(replace(question("ONNX_CPU"), past=(eager, other), digests=asked))
    assert (made is not None) == known
