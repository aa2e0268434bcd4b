"""The packaged configuration, composed by Hydra and validated."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st

from almaflow import config, machine
from almaflow.config import files, resolve, store, validation
from almaflow.config.overrides import quote_numbers
from almaflow.config.schema import MeasureConfig
from almaflow.errors import UsageError
from almaflow.records import EvaluateSpec, HardwareSpec, MeasureSpec, TargetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.config.schema import JobConfig

XEON = machine.Machine(
    cpu="Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
    physical_cores=4,
    logical_cores=8,
    threads=3,
    memory_gb=16.0,
    gpus=(),
    driver=None,
    cuda=None,
    os="Linux",
    python="3.12.0",
)


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    store.register()
    with initialize_config_dir(str(files.conf_dir()), version_base="1.3"):
        yield


def job(*overrides: str) -> JobConfig:
    return validation.validate(compose("config", quote_numbers(list(overrides))))


def test_without_an_override_it_is_resnet18_at_tier_1_on_this_machine() -> None:
    made = job()
    model = resolve.resolve_model(made)
    assert (model.name, model.arch, model.target, model.batch_size) == ("resnet18", "resnet18", None, 1)
    assert model.inputs is not None
    assert model.inputs[0].shape == (3, 224, 224)
    assert made.tier.number == 1
    assert made.hardware.device == "auto"
    assert resolve.resolve_measure(made) == MeasureSpec(prepare_jobs=machine.cpus.usable_cores(), keep_memory=True)


@pytest.mark.parametrize("name", sorted(files.choices("model")))
def test_every_named_model_says_what_to_build_and_from_what(name: str) -> None:
    if name in {"custom", "torchvision"}:
        with pytest.raises(UsageError, match=r"model\.arch.*model\._target_"):
            resolve.resolve_model(job(f"model={name}"))
        return
    model = resolve.resolve_model(job(f"model={name}"))
    assert (model.arch or model.name) == name
    assert model.inputs


@pytest.mark.parametrize(
    ("name", "size"), [("efficientnet_b0", 224), ("efficientnet_b1", 240), ("efficientnet_b2", 288)]
)
def test_efficientnets_get_the_image_size_they_were_made_for(name: str, size: int) -> None:
    inputs = resolve.resolve_model(job(f"model={name}")).inputs
    assert inputs is not None
    assert inputs[0].shape == (3, size, size)


@pytest.mark.parametrize("group", [group for group in files.GROUPS if group not in {"experiment", "predictor"}])
def test_every_choice_composes(group: str) -> None:
    for name in files.choices(group):
        extra = ["tracking.uri=http://localhost:5000"] if name == "server" else []
        chosen = getattr(job(f"{group}={name}", *extra), group)
        assert type(chosen).__name__ == f"{group.title()}Config"


def test_measure_fields_and_defaults_are_those_of_the_record() -> None:
    assert [field.name for field in fields(MeasureConfig)] == [field.name for field in fields(MeasureSpec)]
    assert all(field.default is not MISSING for field in fields(MeasureConfig))
    assert resolve.resolve_measure(job("measure=thorough")).min_samples == 662


def test_a_record_with_a_field_that_no_configuration_has_is_refused() -> None:
    with pytest.raises(AttributeError, match="'MeasureConfig' object has no attribute 'name'"):
        resolve._record(HardwareSpec, MeasureConfig(), device="cpu", threads=1)


def test_default_yaml_says_what_the_record_says() -> None:
    defaults = {field.name: field.default for field in fields(MeasureSpec)}
    # Older jobs prepared one conversion at a time, and no memory was kept; how many at once is asked of the machine.
    assert files.choices("measure")["default"] == defaults | {"prepare_jobs": None, "keep_memory": True}


@pytest.mark.parametrize(
    ("overrides", "jobs"),
    [
        ((), 6),
        (("hardware.cpus=[0]",), 1),
        (("measure.prepare_jobs=3",), 3),
        (("measure=quick",), 6),
        (("measure=thorough",), 1),
        (("measure=thorough", "measure.prepare_jobs=2"), 2),
    ],
)
def test_as_many_are_prepared_at_once_as_there_are_cores_for_the_workers(
    monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], jobs: int
) -> None:
    monkeypatch.setattr(machine.cpus, "usable_cores", lambda cpus=None: 6 if cpus is None else len(cpus))
    assert resolve.resolve_measure(job(*overrides)).prepare_jobs == jobs


def test_target_wins_over_the_default_models_arch() -> None:
    model = resolve.resolve_model(job("model._target_=pkg.mod.build", "model.kwargs.depth=3"))
    assert (model.name, model.target, model.arch, model.kwargs) == ("build", "pkg.mod.build", None, {"depth": 3})


def test_name_wins_over_target_and_arch() -> None:
    assert resolve.resolve_model(job("model._target_=pkg.fn", "model.name=mine")).name == "mine"


def test_target_without_inputs_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model\.inputs is required"):
        resolve.resolve_model(job("model=custom", "model._target_=pkg.fn"))


def test_data_loader_stands_in_for_inputs() -> None:
    overrides = ("model._target_=pkg.fn", "model.data_loader._target_=pkg.loader", "model.data_loader.kwargs.n=2")
    model = resolve.resolve_model(job("model=custom", *overrides))
    assert model.data_loader == TargetSpec("pkg.loader", {"n": 2})


def test_several_and_integer_inputs() -> None:
    shapes = "[{shape: [3, 8]}, {shape: [16], dtype: int64, high: 100, name: ids}]"
    inputs = resolve.resolve_model(job("model._target_=pkg.fn", f"model.inputs={shapes}")).inputs
    assert inputs is not None
    assert [(i.shape, i.dtype, i.high, i.name) for i in inputs] == [
        ((3, 8), "float32", None, None),
        ((16,), "int64", 100, "ids"),
    ]


def test_a_mask_is_one_of_the_inputs() -> None:
    inputs = "model.inputs=[{shape: [4], name: ids}, {shape: [4], dtype: bool, name: mask}]"
    model = resolve.resolve_model(job("model._target_=pkg.fn", inputs, "model.padding_mask=mask"))
    assert (model.padding_mask, model.attention_mask) == ("mask", None)
    with pytest.raises(UsageError, match=r"model\.attention_mask=masks: none of model\.inputs .*; they are: ids, mask"):
        job("model._target_=pkg.fn", inputs, "model.attention_mask=masks")


def test_the_batch_dimension_is_the_models_unless_an_input_says() -> None:
    inputs = "model.inputs=[{shape: [4]}, {shape: [4, 2], batch_dim: 2}, {shape: [3, 3], batch_dim: null}]"
    for override, dims in (
        ("", [0, 2, None]),
        ("model.batch_dim=1", [1, 2, None]),
        ("model.batch_dim=null", [None, 2, None]),
    ):
        model = resolve.resolve_model(job("model._target_=pkg.fn", inputs, *filter(None, [override])))
        assert [each.batch_dim for each in model.inputs or ()] == dims
        assert model.batch_dim == dims[0]


def test_bytes_need_no_range() -> None:
    (image,) = (
        resolve.resolve_model(job("model._target_=pkg.fn", "model.inputs=[{shape: [3], dtype: uint8}]")).inputs or ()
    )
    assert image.high is None


def test_a_callers_model_is_built_where_the_command_was_started() -> None:
    started = str(Path.cwd())
    assert resolve.resolve_model(job("model._target_=pkg.fn", "model.inputs=[{shape: [3]}]")).directory == started
    assert resolve.resolve_model(job()).directory is None


def test_conversions_keep_their_order_and_kind() -> None:
    assert job("conversions=[EXPORT+COMPILE, 3, EAGER]").conversions == ["EXPORT+COMPILE", 3, "EAGER"]


def test_plain_is_ready_for_json() -> None:
    values = validation.plain(job("measure.log_level=DEBUG", "model.kwargs.a=1"))
    assert type(values["measure"]["log_level"]) is str
    assert values["model"]["kwargs"] == {"a": 1}
    assert values["model"]["_target_"] is None
    assert values["tier"]["number"] == 1


def test_auto_without_a_gpu_is_the_cpu_with_its_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "describe", lambda: XEON)
    assert resolve.resolve_hardware(job()) == HardwareSpec(XEON.cpu, "cpu", 3, XEON.cpu)
    assert resolve.resolve_hardware(job("hardware.threads=7")).threads == 7


def test_auto_with_a_gpu_follows_the_installed_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu = machine.Machine(**{**vars(XEON), "gpus": (machine.Gpu("Tesla T4", 16000),)})
    monkeypatch.setattr(machine, "describe", lambda: with_gpu)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.14.1+cu130")
    assert resolve.resolve_hardware(job()).device == "cuda"
    assert resolve.resolve_hardware(job("hardware=cpu")).device == "cpu"
    assert resolve.resolve_hardware(job("hardware=g4dn_xlarge")).name == "g4dn_xlarge"
    with pytest.raises(UsageError, match=r"A10G.*this machine's GPU is Tesla T4.*hardware=auto"):
        resolve.resolve_hardware(job("hardware=g5_xlarge"))
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.14.1+cpu")
    assert resolve.resolve_hardware(job()).device == "cpu"
    with pytest.raises(UsageError, match=r"2\.14\.1\+cpu is built for the CPU only"):
        resolve.resolve_hardware(job("hardware=cuda"))


def test_hardware_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "describe", lambda: XEON)
    assert resolve.resolve_hardware(job("hardware=r6i_large")).name == "r6i_large"
    for name, reason in {
        "cuda": "no NVIDIA GPU",
        "h100": "H100.*no NVIDIA GPU.*hardware=auto",
        "i7_12700k": "i7-12700K.*this machine's CPU is Intel.*8375C.*hardware=auto",
    }.items():
        with pytest.raises(UsageError, match=reason):
            resolve.resolve_hardware(job(f"hardware={name}"))


@pytest.mark.parametrize(
    ("name", "cpu", "gpu"),
    [
        ("i7_12700k", "12th Gen Intel(R) Core(TM) i7-12700K", None),
        ("r6g_large", "Neoverse-N1", None),
        ("h100", "AMD EPYC 9554", "NVIDIA H100 80GB HBM3"),
        ("a100", "AMD EPYC 7742", "NVIDIA A100-SXM4-40GB"),
        ("g5_xlarge", "AMD EPYC 7R32", "NVIDIA A10G"),
        ("jetson_orin_agx", "Cortex-A78AE (NVIDIA Jetson AGX Orin Developer Kit)", "Orin (nvgpu)"),
        ("jetson_orin_nano", "Cortex-A78AE (NVIDIA Jetson Orin Nano Developer Kit)", "Orin (nvgpu)"),
    ],
)
def test_named_machines_know_themselves(name: str, cpu: str, gpu: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (machine.Gpu(gpu, None),) if gpu else ()
    monkeypatch.setattr(machine, "describe", lambda: machine.Machine(**{**vars(XEON), "cpu": cpu, "gpus": gpus}))
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.14.1")
    assert resolve.resolve_hardware(job(f"hardware={name}")).device == ("cuda" if gpu else "cpu")


@pytest.mark.parametrize(
    ("override", "quoted"),
    [
        ("tier=2", "tier='2'"),
        ("tier=1,2", "tier='1','2'"),
        ("tier=choice(1, 3)", "tier='1', '3'"),
        ("+tier=2", "+tier='2'"),
        ("tier='2'", "tier='2'"),
        ("batch_size=2", "batch_size=2"),
        ("tier.number=2", "tier.number=2"),
        ("model=resnet18,simple", "model=resnet18,simple"),
        ("-m", "-m"),
    ],
)
def test_numbers_that_name_a_choice_are_quoted(override: str, quoted: str) -> None:
    assert quote_numbers([override]) == [quoted]


@given(st.lists(st.text()))
def test_quoting_leaves_what_is_no_number_alone(overrides: list[str]) -> None:
    others = [override for override in overrides if not any(letter.isdigit() for letter in override)]
    assert quote_numbers(others) == others


APP = """
import sys, hydra
from almaflow.config import files, overrides, store, validation
store.register()
@hydra.main(config_path=str(files.conf_dir()), config_name="config", version_base="1.3")
def main(cfg):
    print(validation.validate(cfg).tier.number)
sys.argv[1:] = overrides.quote_numbers(sys.argv[1:])
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "printed"),
    [(["tier=2"], "2\n"), (["-m", "tier=1,2"], "1\n2\n"), (["-m", "tier=choice(1,3)"], "1\n3\n")],
)
def test_a_run_leaves_nothing_in_the_working_directory(
    arguments: list[str], printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "app.py"
    script.write_text(APP, encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    home = tmp_path / "home"
    monkeypatch.setenv("ALMAFLOW_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(Path(config.__file__).parents[2]))
    done = subprocess.run([sys.executable, script, *arguments], cwd=work, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (printed, "")
    assert list(work.iterdir()) == []
    assert (home / "multirun").is_dir() == ("-m" in arguments)


def test_more_threads_than_processors_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "describe", lambda: XEON)
    monkeypatch.setattr(machine.cpus, "allowed", lambda: frozenset({0, 1}))
    resolve.resolve_hardware(job("hardware.threads=2"))
    assert caplog.messages == []
    assert resolve.resolve_hardware(job("hardware.threads=99")).threads == 99
    line = "hardware.threads=99: more than the 2 processors of this job; threads that wait for each other are slow"
    assert caplog.messages == [line]
    caplog.clear()
    monkeypatch.setattr(machine.cpus, "allowed", lambda: None)
    resolve.resolve_hardware(job("hardware.threads=8"))
    assert caplog.messages == []


def test_names_of_architectures_may_be_written_otherwise() -> None:
    assert resolve.resolve_model(job("model=torchvision", "model.arch=ViT-B-16")).arch == "vit_b_16"


def test_an_evaluation_needs_a_data_loader() -> None:
    chosen = job("evaluate=top1", "evaluate.samples=500", "evaluate.max_drop=0.01")
    with pytest.raises(UsageError, match=r"evaluate\._target_=.*top1: needs a model\.data_loader"):
        resolve.resolve_evaluate(chosen, resolve.resolve_model(chosen))
    errors = job("evaluate=mse", "model.data_loader._target_=mine.loader", "evaluate.kwargs.a=1")
    spec = resolve.resolve_evaluate(errors, resolve.resolve_model(errors))
    assert spec == EvaluateSpec("almaflow.worker.evaluations.mse", {"a": 1})
    own = job("evaluate._target_=mine.figures", "model.data_loader._target_=mine.loader")
    assert resolve.resolve_evaluate(own, resolve.resolve_model(own)) == EvaluateSpec("mine.figures")
    own.evaluate.lower_is_better = ["depth"]
    found = resolve.resolve_evaluate(own, resolve.resolve_model(own))
    assert found == EvaluateSpec("mine.figures", lower_is_better=("depth",))
    assert resolve.resolve_evaluate(job(), resolve.resolve_model(job())) is None


def test_calibration_data_have_a_loader_of_their_own() -> None:
    spec = resolve.resolve_model(job("model.calibration_loader._target_=mine.others", "model.calibration_samples=50"))
    assert spec.calibration_loader == TargetSpec("mine.others")
    assert spec.calibration_samples == 50
