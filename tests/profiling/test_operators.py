"""Where time goes: the words that predictions and profilers share, and real profilers."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.calibration.test_calibrate import write
from tests.predict.test_forecast import WORK

from almaflow import machine
from almaflow.cli.predict import predict
from almaflow.config.composition import compose
from almaflow.errors import UsageError
from almaflow.predict import workloads
from almaflow.predict.configured import resolve_job
from almaflow.predict.forecast import questions
from almaflow.profiling.operators import Profiled, predicted_parts, profiled_operators
from almaflow.profiling.parts import ELEMENTWISE, PARTS, by_part, part_of


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("aten::mkldnn_convolution", "convolution"),
        ("FusedConv", "convolution"),
        ("conv_depthwise", "convolution"),
        ("aten::addmm", "matrix product"),
        ("FullyConnected", "matrix product"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("MVN", "normalisation"),
        ("graph_0_cpp_fused_native_layer_norm_3", "normalisation"),
        ("Softmax", "softmax"),
        ("aten::max_pool2d_with_indices", "pooling"),
        ("ReduceMean", "reduction"),
        ("aten::embedding", "lookup"),
        ("ReorderInput", "copy"),
        ("Transpose", "copy"),
        ("aten::relu_", "elementwise"),
        ("Add", "elementwise"),
        ("maximum", "elementwise"),
    ],
)
def test_operators_by_the_names_that_runtimes_give_them(name: str, part: str) -> None:
    assert part_of(name) == part


@given(st.lists(st.tuples(st.sampled_from(["conv", "Add", "MatMul", "x"]), st.floats(0.0, 10.0))))
def test_parts_add_up(times: list[tuple[str, float]]) -> None:
    found = by_part(times)
    assert set(found) <= {*PARTS, ELEMENTWISE}
    assert sum(found.values()) == pytest.approx(sum(time for _, time in times))
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.fixture
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's operations, made up: counting has its own tests."""
    monkeypatch.setattr(workloads, "_counted", lambda _: WORK)


def explained(*arguments: str) -> Any:
    return CliRunner().invoke(predict, ["model=simple", *arguments], catch_exceptions=False)


@pytest.mark.usefixtures("_counted")
def test_other_hardware_cannot_be_profiled_here() -> None:
    with pytest.raises(UsageError, match="--profile runs the model here, and this machine has no NVIDIA GPU"):
        explained("hardware=t4", "predictor=roofline", "--profile")


@pytest.mark.usefixtures("_counted")
def test_a_conversion_that_cannot_run_here_is_one_line() -> None:
    job = compose(["model=simple", "hardware=cpu", "conversions=[TENSORRT]"])
    (question,) = questions(resolve_job(job, here=True), job.experiment_name, pytest.fail)
    with pytest.raises(UsageError, match="--profile TENSORRT: "):
        profiled_operators(question, pytest.fail)


@pytest.mark.slow
@pytest.mark.usefixtures("_counted")
@pytest.mark.parametrize("conversion", ["EAGER", "ONNX_CPU", "OPENVINO"])
def test_every_runtime_s_profiler_finds_the_convolutions(conversion: str) -> None:
    job = compose(["model=simple", "hardware=cpu", f"conversions=[{conversion}]"])
    (question,) = questions(resolve_job(job, here=True), job.experiment_name, pytest.fail)
    found = by_part((each.kind, each.total_ms) for each in profiled_operators(question, lambda _: None))
    assert found["convolution"] > 0
    assert 0.001 < sum(found.values()) < 1000


@pytest.mark.usefixtures("_counted")
def test_a_prediction_is_beside_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The roofline's parts and a profiler's in one table, with the sum of each."""
    from almaflow.profiling import operators as profiling

    measured = [Profiled("convolution", 1.25, ""), Profiled("copy_", 0.5, "")]
    monkeypatch.setattr(profiling, "profiled_operators", lambda *_: measured)
    here = machine.describe()
    write("here", here.cpu, here.threads)
    done = explained("hardware=cpu", "predictor=roofline", "conversions=[EAGER]", "--profile")
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert lines["convolution"][-1] == "1.25"
    assert lines["copy"][-1] == "0.5"
    assert lines["all"][-1] == "1.75"
    assert len(lines["all"]) == len(("roofline", "profiler"))


@pytest.mark.usefixtures("_counted")
def test_costs_that_nobody_tells_have_no_parts() -> None:
    job = resolve_job(compose(["model=simple", "hardware=cpu"]), here=True)
    (question, *_) = questions(job, "almaflow", pytest.fail)
    assert predicted_parts(object(), question) == {}  # type: ignore[arg-type]
