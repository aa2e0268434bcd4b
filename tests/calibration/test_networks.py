"""The small networks that calibration measures, and timing them by real conversions."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import psutil
import pytest

from almaflow.calibration.calibrate import CONVERSIONS, conversions_to_calibrate, networks_for
from almaflow.calibration.networks import STYLES, calibration_networks
from almaflow.calibration.times import network_times
from almaflow.calibration.timing import PASSES, time_kernels
from almaflow.errors import AlmaflowError, UsageError
from almaflow.predict.operation_table import CLASSES, class_of
from almaflow.records import ModelSpec
from almaflow.tracking.reader import conversion_runs
from almaflow.tracking.uris import resolve_uri
from almaflow.worker.count_operations import fake_workload

if TYPE_CHECKING:
    from pathlib import Path


def test_they_are_the_same_each_time_and_of_every_style() -> None:
    found = calibration_networks()
    assert found == calibration_networks()
    names = [each.name for each in found]
    assert len(names) == len(set(names)) == sum(count for count, _ in STYLES.values())


@pytest.mark.slow
def test_those_of_compilers_build_and_together_have_every_class() -> None:
    classes: set[str] = set()
    (specs,) = networks_for(conversions_to_calibrate(["COMPILE_INDUCTOR_DEFAULT"])).values()
    for spec in specs:
        workload = fake_workload(spec)
        assert workload.batch_size == spec.batch_size
        assert 1e5 < workload.flops < 1e10
        classes |= {class_of(each, joins=joins) for each in workload.operations for joins in (True, False)}
    assert classes >= set(CLASSES) - {"gather"}


def test_an_unknown_layer_is_named() -> None:
    from almaflow.models.blocks import network

    with pytest.raises(ValueError, match="no layer is called convolution; there are conv,"):
        network([["convolution", 3]], [3, 8, 8])


def test_what_cannot_be_calibrated_is_one_line() -> None:
    with pytest.raises(UsageError, match="only conversions to float32 on cpu are calibrated"):
        conversions_to_calibrate(["OPENVINO_INT8"])
    with pytest.raises(UsageError, match="cannot run here"):
        conversions_to_calibrate(["TENSORRT"])
    assert {each.name for each in conversions_to_calibrate(None)} == {
        "EAGER",
        "COMPILE_INDUCTOR_DEFAULT",
        "ONNX_CPU",
        "OPENVINO",
    }


def test_a_gpu_gets_the_same_networks_with_more_to_do() -> None:
    assert [(each.name, each.kwargs, 16 * each.batch_size) for each in calibration_networks()] == [
        (each.name, each.kwargs, each.batch_size) for each in calibration_networks("cuda")
    ]
    assert [each.name for each in conversions_to_calibrate(["EAGER", "COMPILE_INDUCTOR_DEFAULT"], "cpu")] == list(
        CONVERSIONS["cuda"]
    )[::-1]


def test_compilers_get_fewer_networks() -> None:
    eager, inductor = networks_for(conversions_to_calibrate(["EAGER", "COMPILE_INDUCTOR_DEFAULT"])).values()
    assert len(eager) == sum(count for count, _ in STYLES.values())
    assert 20 < len(inductor) < len(eager) / 2
    assert {each.name.rpartition("-")[0] for each in inductor} == set(STYLES)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.usefixtures("shared_toolchain")
def test_networks_are_timed_by_real_conversions() -> None:
    """Each timed in every pass; twice the layers take longer; a compiled network is not compiled again at each call."""
    shape = [32, 28, 28]
    short, long = (
        ModelSpec(name, "almaflow.models.blocks.network", kwargs={"layers": layers, "shape": shape})
        for name, layers in (("short-0", [["conv", 32, 3]]), ("long-0", [["conv", 32, 3]] * 6))
    )
    made = [spec_with_inputs(each, shape) for each in (short, long)]
    broken = replace(made[0], name="broken-0", kwargs={"layers": [["nothing"]], "shape": shape})
    steps: list[int] = []
    found = time_kernels(
        {each: [*made, broken] for each in conversions_to_calibrate(["COMPILE_INDUCTOR_DEFAULT", "EAGER"])},
        2,
        lambda _, count: steps.append(count),
    )
    assert {(conversion, name) for conversion, name, _ in found.failed} == {
        (conversion, "broken-0") for conversion in found.visits
    }
    assert sum(steps) == 2 * (3 + 2 * PASSES)
    times = network_times(found)
    assert set(times.workloads) == {"short-0", "long-0"}
    assert times.workloads["long-0"].flops == pytest.approx(6 * times.workloads["short-0"].flops)
    for conversion, floors in times.floors_ms.items():
        assert 1.5 < floors["long-0"] / floors["short-0"] < 12, conversion
        middle = median(each for samples, _ in found.visits[conversion]["long-0"] for each in samples)
        assert math.isclose(middle, floors["long-0"], rel_tol=3), conversion
    assert all(0.1 < each < 100 for each in times.control_ms.values())


def spec_with_inputs(spec: ModelSpec, shape: list[int]) -> ModelSpec:
    from almaflow.records import InputSpec

    return replace(spec, inputs=(InputSpec(tuple(shape)),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conversion", "said"),
    [("EAGER", "none of its networks could be built: its process died"), ("ONNX_CPU", "its process ended with 7")],
)
def test_a_process_that_dies_says_which_conversion_it_was_for(conversion: str, said: str) -> None:
    """Eager's networks have processes of their own; those of ONNX Runtime share one."""
    spec = ModelSpec("dies-0", "os._exit", kwargs={"status": 7})
    with pytest.raises(AlmaflowError, match=f"calibrating {conversion}: {said}"):
        time_kernels(
            {each: [spec_with_inputs(spec, [3])] for each in conversions_to_calibrate([conversion])}, 1, lambda *_: None
        )


@pytest.mark.slow
@pytest.mark.alone
def test_a_network_takes_what_it_takes_in_a_job() -> None:
    """Memory that comes from the system anew at each call costs more than computing: it is up to what was done before.

    When it was built and called alone in its process, this network took four times what it takes in a job.
    """
    (spec,) = (each for each in calibration_networks() if each.name == "pointwise-0")
    made = {key: json.dumps(value).replace('"', "") for key, value in spec.kwargs.items()}
    job = [f"model._target_={spec.target}", *(f"model.kwargs.{key}={value}" for key, value in made.items())]
    job += [f"model.inputs=[{{shape: {made['shape']}}}]", f"batch_size={spec.batch_size}", "conversions=[EAGER]"]
    command = [sys.executable, "-m", "almaflow", "run", *job, "measure=quick", "hardware=cpu", "hardware.threads=1"]
    subprocess.run(command, check=True, capture_output=True)
    (run,) = conversion_runs(resolve_uri(None), "almaflow")
    (eager,) = conversions_to_calibrate(["EAGER"])
    floors = network_times(time_kernels({eager: [spec]}, 1, lambda *_: None)).floors_ms
    assert floors["EAGER"][spec.name] == pytest.approx(run.metrics["latency/floor"], rel=0.5)


@pytest.mark.slow
def test_no_process_and_no_file_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processes of the networks end with the one that forked them, however that ends."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    specs = [each for each in calibration_networks() if each.name in {"conv-0", "pointwise-0", "light-0"}]
    others = {each.pid for each in psutil.Process().children(recursive=True)}  # such as one that is kept for all tests
    started: set[int] = set()

    def look(*_: object) -> None:
        started.update({each.pid for each in psutil.Process().children(recursive=True)} - others)

    time_kernels(dict.fromkeys(conversions_to_calibrate(["EAGER"]), specs), 1, look)
    assert len(started) > len(specs)
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not list(tmp_path.iterdir())
