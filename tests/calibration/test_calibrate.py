"""The machine's limits: levels of memory from measured bandwidths, and the config that predictors find."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from almaflow import machine
from almaflow.cli.calibrate import calibrate
from almaflow.config import calibrations as calibration
from almaflow.config.composition import compose
from almaflow.config.resolve import describe_hardware, resolve_hardware, resolve_learnt
from almaflow.errors import UsageError
from almaflow.predict import Roofline
from almaflow.records import CostModel, LearnedCosts, Level, Limits, from_dict
from almaflow.worker.limits import SIZES, _levels

if TYPE_CHECKING:
    from pathlib import Path

WORKING_SETS_MB = SIZES["cpu"].working_sets_mb
LIMITS = {
    "gflops": {"float32": 100.0},
    "bandwidth": [{"name": "up to 8 MB", "mb": 8.0, "gb_s": 50.0}, {"name": "memory", "gb_s": 10.0}],
    "overhead_us": 0.7,
}


def test_levels_of_a_machine_with_two_caches() -> None:
    found = dict(zip(WORKING_SETS_MB, (60.0, 100.0, 95.0, 93.0, 50.0, 20.0, 21.0), strict=True))
    assert _levels(found) == [
        {"name": "up to 8 MB", "mb": 8.0, "gb_s": 100.0},
        {"name": "up to 32 MB", "mb": 32.0, "gb_s": 50.0},
        {"name": "memory", "gb_s": 20.0},
    ]


def test_levels_of_a_machine_that_is_busy_keep_four_digits_and_are_never_zero() -> None:
    rates = dict(zip(WORKING_SETS_MB, (0.123456, 0.123456, 0.0412345, 0.0412345, 0.00123456, 3e-5, 2e-5), strict=True))
    assert [level["gb_s"] for level in _levels(rates)] == [0.1235, 0.04123, 0.001235, 3e-5, 2e-5]


@settings(max_examples=20)
@given(st.lists(st.floats(1e-6, 1000.0), min_size=len(WORKING_SETS_MB), max_size=len(WORKING_SETS_MB)))
def test_levels_are_ones_that_a_hardware_config_takes(rates: list[float]) -> None:
    levels = _levels(dict(zip(WORKING_SETS_MB, rates, strict=True)))
    text = ", ".join(f"{{{', '.join(f'{key}: {value}' for key, value in level.items())}}}" for level in levels)
    job = compose(["model=simple", f"hardware.limits.bandwidth=[{text}]"])
    speeds = [level.gb_s for level in job.hardware.limits.bandwidth]
    assert speeds == sorted(speeds, reverse=True)


def made(cpu: str, threads: int, name: str = "here") -> calibration.Calibration:
    backend = CostModel({"call_us": 3.0, "conv/gflops": 50.0, "bandwidth/0.1": 7.0}, 0.9, 1.25, 12, 0.9, 1.1)
    learnt = LearnedCosts("abc", "2026-11-25", {"EAGER": backend, "ONNX_CPU": backend}, ("run1",))
    return calibration.Calibration(name, "cpu", cpu, "a CPU", threads, LIMITS, {"kernels": learnt}, "made up: twice")


def write(name: str, cpu: str, threads: int) -> None:
    path = calibration.config_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(calibration.text_of(made(cpu, threads, name)), encoding="utf-8")


@given(st.text("ab (R)@.+-3", min_size=1).filter(str.strip))
def test_what_is_written_is_read_again(cpu: str) -> None:
    expected = made(cpu.strip(), 2)
    write("here", cpu.strip(), 2)
    assert calibration.read("here") == expected
    assert calibration.calibrated_here(cpu.strip(), 2) == expected


def test_a_gpu_that_was_calibrated_is_not_the_cpu_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(machine.describe(), gpus=(machine.Gpu("NVIDIA H100 80GB HBM3", None),), threads=16)
    monkeypatch.setattr(machine, "describe", lambda: here)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.14.1+cu130")
    on_gpu = replace(made("NVIDIA H100 80GB HBM3", 16), device="cuda")
    calibration.config_path("here").parent.mkdir(parents=True, exist_ok=True)
    calibration.config_path("here").write_text(calibration.text_of(on_gpu), encoding="utf-8")
    assert calibration.read("here") == on_gpu
    for name, limits, learnt in (("cuda", on_gpu.limits, on_gpu.learnt), ("cpu", None, {})):
        job = compose(["model=simple", f"hardware={name}"])
        hardware = resolve_hardware(job)
        assert (hardware.limits, resolve_learnt(job, hardware)) == (limits, learnt)


def test_a_calibration_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UsageError, match="run `almaflow calibrate --name nowhere` first"):
        calibration.read("nowhere")


def test_a_committed_config_brings_what_was_learnt(tmp_path: Path) -> None:
    """Another machine's config, as it would be beside somebody's own configs."""
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "office.yaml").write_text(calibration.text_of(made("Other CPU", 3)), encoding="utf-8")
    job = compose([f"hydra.searchpath=[file://{tmp_path}]", "model=simple", "hardware=office"])
    hardware = describe_hardware(job)
    assert hardware.limits == from_dict(Limits, LIMITS)
    assert resolve_learnt(job, hardware) == made("Other CPU", 3).learnt
    wrong = compose(["model=simple", "hardware=cpu", "+hardware.learnt.kernels=3"])
    with pytest.raises(UsageError, match="calibrate it again"):
        resolve_learnt(wrong, resolve_hardware(wrong))


def test_jobs_on_this_machine_use_what_was_measured_on_as_many_threads() -> None:
    here = machine.describe()
    write("other_machine", f"{here.cpu} II", here.threads)
    write("other_threads", here.cpu, here.threads + 1)
    assert resolve_hardware(compose(["model=simple", "hardware=cpu"])).limits is None
    write("this_one", here.cpu, here.threads)
    expected = from_dict(Limits, LIMITS)
    assert expected.bandwidth == (Level("up to 8 MB", 50.0, 8.0), Level("memory", 10.0))
    assert resolve_hardware(compose(["model=simple", "hardware=cpu"])).limits == expected
    said = compose(["model=simple", "hardware=cpu", "hardware.limits.overhead_us=9"])
    assert resolve_hardware(said).limits == Limits(overhead_us=9.0)


def test_a_config_that_is_broken_is_not_there() -> None:
    here = machine.describe()
    whole = calibration.text_of(replace(made(here.cpu, here.threads), measured={"gflops": 3}))
    for name, text in (("one", ": ["), ("two", "[]"), ("three", "threads: 1"), ("four", whole)):
        path = calibration.config_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert calibration.calibrated_here(here.cpu, here.threads) is None


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b"])
def test_a_name_is_one_of_a_config(name: str) -> None:
    with pytest.raises(UsageError, match="a hardware config is named by letters"):
        calibration.config_path(name)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hardware.limits.gflops.float32=0", "hardware.limits.gflops.float32=0: must be more than 0"),
        ("hardware.limits.conv_gflops.int8=-1", "hardware.limits.conv_gflops.int8=-1: must be more than 0"),
        ("hardware.limits.bandwidth=[{name: L2, gb_s: 1, mb: 1}]", "main memory, which has no mb"),
        (
            "hardware.limits.bandwidth=[{name: L3, gb_s: 1, mb: 2}, {name: L2, gb_s: 1, mb: 1}, {name: D, gb_s: 1}]",
            "from",
        ),
    ],
)
def test_limits_that_cannot_be(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compose(["model=simple", override])


@pytest.mark.slow
def test_this_machine_is_measured_and_predicted(tmp_path: Path) -> None:
    """The child that measures, the file that it leaves, and a prediction from it."""
    from almaflow.predict.forecast import forecasts

    copy = tmp_path / "mine.yaml"
    done = CliRunner().invoke(calibrate, ["--name", "mine", "--threads", "1", "--quick", "--output", str(copy)])
    assert done.exit_code == 0, done.output
    found = yaml.safe_load(copy.read_text(encoding="utf-8"))["limits"]
    # A CPU does from 1 to 1000 GFLOP/s on one thread, and moves from 1 to 1000 GB/s.
    assert all(1 < found[each]["float32"] < 1000 for each in ("gflops", "conv_gflops"))
    assert found["conv_gflops"]["float32"] in found["achieved"]["float32"].values()
    assert all(1 < level["gb_s"] < 1000 for level in found["bandwidth"])
    assert 0.05 < found["overhead_us"] < 100
    job = compose(["model=simple", "hardware=cpu", "hardware.threads=1", "predictor=roofline"])
    made = {each.conversion.name: each.prediction for each in forecasts(job, pytest.fail)}
    assert set(made) == {"EAGER", "COMPILE_INDUCTOR_DEFAULT"}
    assert {each.predictor for each in made.values()} == {Roofline().name}
    assert 0.01 < made["COMPILE_INDUCTOR_DEFAULT"].latency_ms < made["EAGER"].latency_ms < 10


def test_a_gpu_that_is_not_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(machine.describe(), gpus=())
    monkeypatch.setattr(machine, "describe", lambda: here)
    done = CliRunner().invoke(calibrate, ["--device", "cuda"], standalone_mode=False)
    assert isinstance(done.exception, UsageError)
    assert "this machine has no NVIDIA GPU that this process may use" in str(done.exception)


@pytest.mark.slow
def test_small_networks_are_timed_learnt_from_and_predicted_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command on a few networks: progress, the registry, and a prediction by what was learnt."""
    from almaflow.calibration import calibrate as calibrating
    from almaflow.predict.forecast import forecasts

    every = calibrating.networks_for
    few = {"conv-0", "conv-1", "pointwise-0", "linear-1", "light-0"}
    monkeypatch.setattr(
        calibrating,
        "networks_for",
        lambda plan: {each: [spec for spec in specs if spec.name in few] for each, specs in every(plan).items()},
    )
    done = CliRunner().invoke(calibrate, ["--name", "mine", "--threads", "1", "--conversions", "ONNX_CPU"])
    assert done.exit_code == 0, done.output
    assert "Registered: almaflow-calibrated-mine, version 1" in " ".join(done.output.split())
    job = compose(
        ["model=simple", "hardware=cpu", "hardware.threads=1", "predictor=calibrated", "conversions=[ONNX_CPU]"]
    )
    made = {each.prediction.predictor: each.prediction for each in forecasts(job, pytest.fail)}
    assert 0.01 < made["calibrated"].latency_ms < 10
