"""What a wrong configuration is answered with: always one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from almaflow.config import files, resolve, store, validation
from almaflow.config.explain import explain
from almaflow.config.overrides import choose_names, quote_numbers
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    store.register()
    with initialize_config_dir(str(files.conf_dir()), version_base="1.3"):
        yield


def answer(*overrides: str) -> str:
    """What the user reads about these overrides; empty where nothing is wrong."""
    try:
        validation.validate(compose("config", quote_numbers(choose_names(overrides))))
    except Exception as error:  # noqa: BLE001 - whatever Hydra raises
        explained = explain(error)
        assert explained is not None
        return str(explained)
    return ""


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("batch_size=0", "batch_size=0: must be 1 or more"),
        ("batch_size=1.5", "batch_size=1.5: must be a whole number"),
        ("batch_size=x", "batch_size=x: must be a whole number"),
        ("batch_size=null", "batch_size=null: must have a value"),
        ("predicted_latency_ms=-1", "predicted_latency_ms=-1.0: must be more than 0"),
        ("predicted_latency_ms=0", "predicted_latency_ms=0.0: must be more than 0"),
        ("predicted_energy_j=nan", "predicted_energy_j=nan: must be a finite number"),
        ("predicted_latency_ms=fast", "predicted_latency_ms=fast: must be a number"),
        ("seed=-1", "seed=-1: must be 0 or more"),
        ("strict=perhaps", "strict=perhaps: must be true or false"),
        ("log_models=some", "log_models=some: must be one of none, best, all"),
        ("experiment_name=''", "experiment_name: must not be empty"),
        (f"experiment_name={'n' * 256}", "experiment_name: has 256 bytes, and the store can keep 255 at most"),
        (f"experiment_name='{'ü' * 128}'", "experiment_name: has 256 bytes, and the store can keep 255 at most"),
        ("experiment_name='a\ud800'", "experiment_name: has a character that is not in UTF-8, or a NUL"),
        ("hardware.threads=0", "hardware.threads=0: must be 1 or more"),
        ("hardware.device=gpu", "hardware.device=gpu: must be one of auto, cpu, cuda"),
        ("measure.min_samples=0", "measure.min_samples=0: must be 1 or more"),
        ("evaluate=top3", "evaluate=top3: no such evaluate; nearest: top5; choices: map, mse, none, text, top1, top5"),
        ("evaluate.samples=0", "evaluate.samples=0.0: must be more than 0"),
        ("evaluate.samples=2.5", "evaluate.samples=2.5: must be a whole number, or a share below 1"),
        ("evaluate.max_drop=-1", "evaluate.max_drop=-1.0: must be 0 or more"),
        ("evaluate.lower_is_better=[depth]", "evaluate.lower_is_better=['depth']: there is no evaluation"),
        (
            "evaluate=map evaluate.kwargs.box_format=yxyx",
            "evaluate.kwargs.box_format=yxyx: must be one of xyxy, xywh, cxcywh",
        ),
        (
            "evaluate.max_drop=0.1",
            (
                "evaluate.max_drop=0.1: there is no evaluation; choose evaluate=top1 or another one, or "
                "evaluate._target_=my_package.my_function"
            ),
        ),
        ("model.calibration_samples=0", "model.calibration_samples=0: must be 1 or more"),
        ("measure.min_time_s=50", "measure.min_time_s=50: must be no more than measure.max_time_s=6"),
        ("measure.max_time_s=900", "measure.max_time_s=900: must be no more than measure.time_budget_s=600"),
        ("measure=thorough measure.max_time_s=5", "measure.min_time_s=10: must be no more than measure.max_time_s=5"),
        ("measure.rel_precision=0", "measure.rel_precision=0.0: must be more than 0"),
        ("measure.rel_precision=-0.02", "measure.rel_precision=-0.02: must be more than 0"),
        # A share, not percent: from 1 on, the interval could begin at zero.
        ("measure.rel_precision=2", "measure.rel_precision=2.0: must be less than 1"),
        ("measure.rel_precision=1", "measure.rel_precision=1.0: must be less than 1"),
        ("measure.rel_precision=inf", "measure.rel_precision=inf: must be a finite number"),
        ("measure.rel_precision=nan", "measure.rel_precision=nan: must be a finite number"),
        ("measure.rel_precision=2%", "measure.rel_precision=2%: must be a number"),
        ("measure.replicates=0", "measure.replicates=0: must be 1 or more"),
        ("measure.replicates=2.5", "measure.replicates=2.5: must be a whole number"),
        ("measure.replicates=null", "measure.replicates=null: must have a value"),
        ("measure.interleave=0", "measure.interleave=0: must be 1 or more"),
        ("measure.interleave=true", "measure.interleave=true: must be a whole number"),
        ("measure.prepare_jobs=0", "measure.prepare_jobs=0: must be 1 or more"),
        ("measure.prepare_jobs=1.5", "measure.prepare_jobs=1.5: must be a whole number"),
        ("measure.prepare_jobs=many", "measure.prepare_jobs=many: must be a whole number"),
        ("measure.streams=0", "measure.streams=0: must be 1 or more"),
        ("measure.streams=-2", "measure.streams=-2: must be 1 or more"),
        ("measure.streams=many", "measure.streams=many: must be a whole number"),
        ("measure.stream=2", "measure.stream: no such key; nearest: measure.streams, measure.interleave"),
        ("replicates=3", "replicates: no such key; nearest: measure.replicates"),
        ("tier.number=4", "tier.number=4: must be 3 or less"),
        ("conversions=EAGER", "conversions=EAGER: must be a list in brackets, e.g. [A,B]"),
        ("conversions=[]", "conversions=[]: must name at least one conversion; `almaflow conversions` lists them"),
        ("conversions=[1.5]", "conversions: 1.5 is neither a name nor a number of `almaflow conversions`"),
        ("tracking=server", "tracking.uri is required with tracking=server, e.g. tracking.uri=http://localhost:5000"),
        ("model.inputs=[{shape: [0]}]", "model.inputs.0.shape.0=0: must be 1 or more"),
        ("model.inputs=[3]", "model.inputs=[3]: must be a list of {shape: [...]}"),
        (
            "model.inputs=[{shape: [4], dtype: int64}]",
            "model.inputs.0.high is required for int64: one more than the largest",
        ),
        (
            "model.inputs=[{shape: [4], dtype: int8, low: 5, high: 5}]",
            "model.inputs.0.high=5: must be more than low=5",
        ),
        (
            "model.inputs=[{shape: [4], batch_dim: 2}]",
            (
                "model.inputs.0.batch_dim=2: must be 1 or less for shape=[4], or null where the input has no batch "
                "dimension"
            ),
        ),
        ("model.inputs=[{shape: [4], batch_dim: -1}]", "model.inputs.0.batch_dim=-1: must be 0 or more"),
        ("model.batch_dim=-1", "model.batch_dim=-1: must be 0 or more"),
        ("model.inputs=[{shape: [4], name: a}, {shape: [4], name: a}]", "model.inputs: two inputs have the name a"),
        ("batch_sze=3", "batch_sze: no such key; nearest: batch_size"),
        ("threads=2", "threads: no such key; nearest: hardware.threads"),
        ("model.arc=x", "model.arc: no such key; nearest: model.arch, model.kwargs, model.name"),
        ("+measure.min_time=1", "measure.min_time: no such key; nearest: measure.min_time_s"),
        ("model.inputs=[{shpe: [3]}]", "model.inputs=[{shpe: [3]}]: no such key: shpe; nearest: shape"),
        ("tier=4", "tier=4: no such tier; choices: 1, 2, 3"),
        (
            "measure=quik",
            "measure=quik: no such measure; nearest: quick; choices: default, quick, thorough, throughput",
        ),
        (
            "nope/x=3",
            (
                "nope/x=3: no such configuration group; groups: model, hardware, tier, predictor, measure, evaluate, "
                "tracking, fleet, experiment"
            ),
        ),
        ("model=null", "a configuration group takes the name of one of its choices, e.g. model=resnet18"),
        (
            "model=resnet18,simple",
            "model=resnet18,simple: several values are a sweep, which takes -m; a list is written in brackets",
        ),
        ("batch_size", "batch_size: is not of the form KEY=VALUE; quote a value that has spaces or brackets"),
        ("resnet18", "resnet18: is not of the form KEY=VALUE; did you mean model=resnet18?"),
        ("ResNet-18", "ResNet-18: is not of the form KEY=VALUE; did you mean model=resnet18?"),
        ("NVIDIA-H100", "NVIDIA-H100: is not of the form KEY=VALUE; did you mean hardware=h100?"),
        ("quick", "quick: is not of the form KEY=VALUE; did you mean measure=quick?"),
        (
            "hardware=i8_12700k",
            (
                "hardware=i8_12700k: no such hardware; nearest: i7_12700k; all: `almaflow hardware`; this machine as "
                "it is: hardware=auto"
            ),
        ),
        ("conversions=[a", "conversions=[a: is not of the form KEY=VALUE; quote a value that has spaces or brackets"),
        ("output=${nothing}", "output: Interpolation key 'nothing' not found"),
    ],
)
def test_wrong_values_keys_and_choices(override: str, line: str) -> None:
    overrides = override.split(" ") if override.startswith(("measure=thorough ", "evaluate=map ")) else [override]
    assert answer(*overrides) == line


@pytest.mark.parametrize(
    "override",
    [
        "measure.rel_precision=null",
        "measure.rel_precision=0.999",
        "measure.rel_precision=1e-6",
        "measure.replicates=1",
        "measure.replicates=5",
        "measure.interleave=1",
        "measure.streams=16",
        "measure.min_time_s=0",
    ],
)
def test_values_at_the_edge_of_their_range_are_taken(override: str) -> None:
    assert answer(override) == ""


@pytest.mark.parametrize(
    ("name", "precision", "replicates", "streams"),
    [("default", 0.02, 1, 1), ("quick", None, 1, 1), ("thorough", 0.01, 3, 1), ("throughput", 0.05, 1, 2)],
)
def test_each_way_to_measure_composes_to_what_it_says(
    name: str, precision: float | None, replicates: int, streams: int
) -> None:
    measure = resolve.resolve_measure(validation.validate(compose("config", [f"measure={name}"])))
    assert (measure.rel_precision, measure.replicates, measure.streams) == (precision, replicates, streams)
    assert measure.min_time_s <= measure.max_time_s <= measure.time_budget_s


def test_integer_inputs_of_a_data_loader_need_no_range() -> None:
    assert answer("model.inputs=[{shape: [4], dtype: int64}]", "model.data_loader._target_=p.loader") == ""


def test_a_wrong_model_is_answered_by_the_nearest_or_by_all_and_the_way_to_others() -> None:
    more = "all: `almaflow models`; any torchvision model: model=torchvision model.arch=NAME"
    assert answer("model=resnet81") == f"model=resnet81: no such model; nearest: resnet18; {more}"
    line = answer("model=nope")
    assert line.startswith("model=nope: no such model; choices: bert, convnext_base, ")
    assert line.endswith(more)


def test_an_unreadable_pattern_is_named() -> None:
    assert answer("hardware.cpu_match='('").startswith("hardware.cpu_match=(: is not a regular expression")


def test_output_has_to_be_a_file_in_a_directory_that_exists(tmp_path: Path) -> None:
    assert answer(f"output='{tmp_path}/r.json'") == ""
    assert answer(f"output='{tmp_path}/no/r.json'").endswith(f"the directory {tmp_path}/no does not exist")
    assert answer(f"output='{tmp_path}'").endswith("is a directory, and must be a file")


def test_errors_that_are_not_about_the_configuration_are_left_alone() -> None:
    assert explain(ValueError("a bug")) is None
    assert explain(KeyError("a bug")) is None


def test_a_usage_error_stays_what_it_is() -> None:
    error = UsageError("said already")
    assert explain(error) is error


def test_a_users_file_with_a_wrong_key_or_broken_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("arhc: resnet18\n", encoding="utf-8")
    (tmp_path / "model" / "broken.yaml").write_text("arch: [\n", encoding="utf-8")
    path = f"hydra.searchpath=['file://{tmp_path}']"
    assert "arhc" in answer("model=mine", path)
    assert "nearest: model.arch" in answer("model=mine", path)
    assert "not valid YAML" in answer("model=broken", path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(
        ["batch_size", "model", "model.inputs", "conversions", "measure.min_time_s", "tier", "nope", "hardware"]
    ),
    value=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12),
)
def test_any_text_is_either_accepted_or_answered_in_one_line(key: str, value: str) -> None:
    assert "\n" not in answer(f"{key}={value}")
