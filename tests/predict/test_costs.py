"""The formula of what operations cost, and learning its parameters from networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.calibration.fit import learn_backend
from almaflow.conversions.catalogue.plan import plan
from almaflow.predict import Calibrated, costs
from almaflow.predict.operation_table import class_of, operations
from almaflow.records import (
    HardwareSpec,
    LearnedCosts,
    MeasuredModel,
    ModelSpec,
    Operation,
    PredictionRequest,
    Workload,
)

EAGER, ONNX = plan(["EAGER", "ONNX_CPU"], 1, "cpu", allow_device_override=False)


def conv(size: int, channels: int) -> Operation:
    flops = 2.0 * 9 * channels**2 * size**2
    image = 4.0 * channels * size**2
    sizes = {"m": size**2, "n": channels, "k": 9 * channels, "groups": 1, "kernel": 9, "stride": 1}
    weights = 36.0 * channels**2
    return Operation("convolution", "conv", flops, image, weights, image, (1, channels, size, size), "float32", sizes)


def relu(size: int, channels: int, *, name: str = "relu", fusible: bool = True) -> Operation:
    image = 4.0 * channels * size**2
    return Operation(
        name, "elementwise", image / 4, image, 0.0, image, (1, channels, size, size), "float32", fusible=fusible
    )


def network(size: int, channels: int, count: int) -> Workload:
    operations = tuple(each for _ in range(count) for each in (conv(size, channels), relu(size, channels)))
    return Workload(operations, sum(each.weight_bytes for each in operations) / 1e6, 1)


NETWORKS = [
    network(size, channels, count) for size in (7, 14, 28, 56) for channels in (16, 64, 200) for count in (1, 3)
]
NUMBERS = st.lists(st.floats(-1.0, 1.0), min_size=len(costs.LAYOUT.names), max_size=len(costs.LAYOUT.names))


@given(NUMBERS)
def test_a_call_is_its_operations_and_its_overhead(shifts: list[float]) -> None:
    vector = costs.prior()[0] + np.array(shifts)
    columns = operations(NETWORKS, joins=True)
    each = costs.times_ms(vector, columns)
    assert (each > 0).all()
    whole = costs.networks_ms(vector, columns)
    parameters = costs.parameters_of(vector)
    assert sum(whole) == pytest.approx(sum(each) + len(NETWORKS) * parameters["call_us"] / 1000, rel=1e-3)
    assert costs.vector_of(parameters) == pytest.approx(vector, abs=1e-3)


@given(NUMBERS)
def test_on_a_gpu_a_call_takes_what_host_or_device_takes_longer(shifts: list[float]) -> None:
    vector = costs.prior("cuda")[0] + np.array(shifts)
    columns = operations(NETWORKS, "cuda", joins=True)
    whole, each = costs.networks_ms(vector, columns), costs.times_ms(vector, columns)
    call = costs.parameters_of(vector, "cuda")["call_us"] / 1000
    assert np.bincount(columns.network, each) + call == pytest.approx(whole, rel=1e-3)

    def with_factors(**factors: float) -> np.ndarray:
        """What calls take, their own overhead left out, where parameters of these names are so many times as large."""
        names = [name.rpartition("/")[2] for name in costs.LAYOUTS["cuda"].names]
        changed = vector + np.log([factors.get(name, 1.0) for name in names])
        return np.array(costs.networks_ms(changed, columns) - call)

    device = with_factors(overhead_us=1e-15)
    host = with_factors(kernel_us=1e-15, traffic=1e-15, stream=1e-15, gflops=1e15)
    assert (np.maximum(host, device) <= (whole - call) * 1.001).all()
    assert (whole - call <= 1.2 * np.maximum(host, device)).all()


@given(NUMBERS, st.sampled_from([7, 14, 28]), st.sampled_from([16, 64]))
def test_more_of_the_same_takes_longer(shifts: list[float], size: int, channels: int) -> None:
    vector = costs.prior()[0] + np.array(shifts)
    less, more, wider = (network(size, channels, 1), network(size, channels, 2), network(size, 2 * channels, 1))
    times = costs.networks_ms(vector, operations([less, more, wider], joins=False))
    assert times[1] > times[0]
    assert times[2] > times[0]


def test_memory_that_is_written_anew() -> None:
    """An operation in place writes where it read; a pool reads each of its windows."""
    image = relu(112, 256)
    pool = replace(image, name="max_pool2d_with_indices", kind="pool", shape=(1, 256, 56, 56), sizes={"kernel": 9})
    columns = operations([Workload((image, replace(image, name="relu_"), pool), 0.0, 1)], joins=False)
    assert list(columns.new_mb[:2]) == [image.written_bytes / 1e6, 0.0]
    assert columns.moved_mb[2] == pytest.approx((9 * 4 * 256 * 56**2 + image.written_bytes) / 1e6)
    vector, _ = costs.prior()
    kept, in_place, _ = costs.times_ms(
        vector, operations([Workload((relu(224, 256), relu(224, 256, name="relu_"), image), 0.0, 1)], joins=False)
    )
    assert kept > in_place


def test_classes_are_what_backends_tell_apart() -> None:
    assert class_of(relu(7, 8), joins=False) == "elementwise"
    assert class_of(relu(7, 8), joins=True) == "joined"
    assert class_of(relu(7, 8, name="silu_"), joins=True) == "joined_transcendental"
    assert class_of(relu(7, 8, fusible=False), joins=True) == "elementwise"
    first = conv(7, 3)
    assert (class_of(first, joins=True), class_of(conv(7, 8), joins=True)) == ("conv_first", "conv")


def truth() -> tuple[np.ndarray, np.ndarray]:
    """Parameters that no prior knows, and what the networks take by them."""
    vector = costs.prior()[0] + np.random.default_rng(7).normal(0, 0.5, len(costs.LAYOUT.names))
    return vector, costs.networks_ms(vector, operations(NETWORKS, joins=False))


def test_parameters_that_explain_networks_predict_others() -> None:
    _, times = truth()
    shown = {f"s{n}-0": (each, float(times[n])) for n, each in enumerate(NETWORKS) if n % 3}
    backend = learn_backend(EAGER, shown, 1.0)
    assert backend.networks == len(shown)
    learnt = {"kernels": LearnedCosts("v", "2026-11-25", {"EAGER": backend})}
    hidden = [(each, time) for number, (each, time) in enumerate(zip(NETWORKS, times, strict=True)) if not number % 3]
    for workload, time in hidden:
        question = PredictionRequest(ModelSpec("m"), HardwareSpec("h", "cpu", 1), EAGER, 1, workload, learnt=learnt)
        made = Calibrated().predict(question)
        assert made is not None
        assert made.latency_ms == pytest.approx(time, rel=0.1)
        assert made.version == "v"
        assert sum(each.total_ms for each in Calibrated().costs(question)) < made.latency_ms


def test_models_correct_what_small_networks_taught() -> None:
    _, times = truth()
    shown = {f"s{n}-0": (each, float(times[3 * n])) for n, each in enumerate(NETWORKS[::3])}
    before = learn_backend(ONNX, shown, 1.0)
    models = [
        MeasuredModel(f"m{number}", "ONNX_CPU", each, 3.0 * float(time), control_ms=2.0)
        for number, (each, time) in enumerate(zip(NETWORKS[::3], times[::3], strict=True))
    ]
    after = learn_backend(ONNX, shown, 1.0, models, before)
    assert after.networks == 2 * len(NETWORKS[::3])
    one, other = (
        b.whole * costs.networks_ms(costs.vector_of(b.parameters), operations(NETWORKS[-1:], joins=True))[0]
        for b in (before, after)
    )
    assert 1.3 * one < other < 1.55 * one


def test_nothing_is_said_of_what_was_not_calibrated() -> None:
    backend = learn_backend(EAGER, {"conv-0": (NETWORKS[0], 1.0), "linear-0": (NETWORKS[1], 2.0)}, 1.0)
    learnt = {"kernels": LearnedCosts("v", "2026-11-25", {"EAGER": backend})}
    question = PredictionRequest(ModelSpec("m"), HardwareSpec("h", "cpu", 1), ONNX, 1, NETWORKS[0], learnt=learnt)
    assert Calibrated().predict(question) is None
    assert Calibrated("history").predict(question) is None
    assert list(Calibrated().costs(question)) == []
