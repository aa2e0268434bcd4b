"""Names that MLflow takes, and keys that tell results apart."""

from __future__ import annotations

import math
import posixpath
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.records import (
    Failure,
    FailureKind,
    HardwareSpec,
    Job,
    Measurement,
    MeasureSpec,
    ModelSpec,
    Outcome,
    PlannedConversion,
    Prediction,
    ReferenceInfo,
    Status,
    TensorSpec,
)
from almaflow.tracking import schema as names
from almaflow.tracking.fingerprints import (
    digests_of,
    fingerprint,
    fingerprint_without_digests,
    logical_key,
    model_digest,
)

PLANNED = PlannedConversion(
    name="EXPORT+COMPILE_INDUCTOR",
    requested="export_inductor",
    family="export",
    steps=("export", "compile"),
    engine="alma",
    device="cpu",
    dtype="float32",
)
MEASURED = Measurement(
    samples_ms=(10.0, 11.0),
    batch_size=2,
    load_s=1.0,
    convert_s=2.0,
    first_call_s=0.5,
    total_s=9.0,
    warmup_calls=10,
    stable=True,
    device_actual="cpu",
    runtime={"provider": "CPUExecutionProvider"},
    threads={"torch": 2},
    repairs=("onnx_path", "quantize_pt2e"),
)
OUTCOME = Outcome(
    planned=PLANNED,
    status=Status.OK,
    started_at=1000.0,
    ended_at=1010.5,
    measurement=MEASURED,
    prediction=Prediction(latency_ms=12.0, predictor="given", version="1"),
)
JOB = Job(
    job_id="20260101-120000-ab12",
    directory=str(Path.home() / "almaflow" / "jobs" / "20260101-120000-ab12"),
    model=ModelSpec(name="resnet18", arch="resnet18", batch_size=2),
    hardware=HardwareSpec(name="auto", device="cpu", threads=2),
    measure=MeasureSpec(),
    tier=2,
    experiment_name="almaflow",
    config={},
    environment={"cpu": "A CPU @ 2 GHz", "torch": "2.14.1", "git_commit": "abc1234", "memory_gb": "8"},
    started_at=999.0,
    prepared=ReferenceInfo(
        inputs=(TensorSpec((2, 3, 224, 224), "float32"),),
        outputs=(TensorSpec((2, 1000), "float32"),),
        parameters=11_689_512,
        weights_digest="d" * 64,
        device_name="A CPU",
        threads={"torch": 2},
        eager_s=0.03,
    ),
)


def test_the_params_are_the_contract() -> None:
    params = names.params(JOB, OUTCOME)
    assert {name: value for name, value in params.items() if not name.startswith("measure.")} == {
        "model": "resnet18",
        "hardware": "auto",
        "tier": "2",
        "conversion": "EXPORT+COMPILE_INDUCTOR",
        "engine": "alma",
        "batch_size": "2",
        "input_shape": "2x3x224x224",
        "dtype": "float32",
        "device": "cpu",
        "threads": "2",
        "predictor": "given",
    }
    assert params["measure.min_samples"] == "64"
    assert params["measure.pin_memory"] == "false"


def test_the_tags_say_what_happened() -> None:
    tags = names.tags(replace(JOB, sweep_id="s1"), OUTCOME)
    expected = {
        "almaflow.kind": "conversion",
        "almaflow.status": "ok",
        "almaflow.job_id": JOB.job_id,
        "almaflow.sweep_id": "s1",
        "almaflow.logical_key": f"{JOB.job_id}/EXPORT+COMPILE_INDUCTOR",
        "almaflow.predictor_version": "1",
        "almaflow.device_requested": "cpu",
        "almaflow.device_actual": "cpu",
        "almaflow.repairs": "onnx_path, quantize_pt2e",
        "almaflow.runtime.provider": "CPUExecutionProvider",
        "almaflow.threads.torch": "2",
        "env.cpu": "A CPU @ 2 GHz",
        "env.torch": "2.14.1",
        "env.git_commit": "abc1234",
    }
    assert expected.items() <= tags.items()
    assert "almaflow.failure" not in tags
    assert "almaflow.sweep_id" not in names.tags(JOB, OUTCOME)


def test_a_failure_has_its_class_and_its_message_without_this_machines_paths() -> None:
    message = f"cannot read {JOB.directory}/w/model.onnx nor {Path.home()}/x.py"
    failure = Failure(kind=FailureKind.CRASHED, message=message, phase="convert")
    tags = names.tags(JOB, replace(OUTCOME, status=Status.FAILED, measurement=None, failure=failure))
    assert tags["almaflow.failure"] == "crashed"
    assert tags["almaflow.failure_phase"] == "convert"
    assert tags["almaflow.failure_message"] == "cannot read <job>/w/model.onnx nor ~/x.py"


def test_an_unavailable_conversion_says_why_and_how_to_install() -> None:
    kind = FailureKind.MISSING_DEPENDENCY
    planned = replace(PLANNED, unavailable="torch_tensorrt is missing", unavailable_kind=kind, install="pip install x")
    tags = names.tags(JOB, Outcome(planned=planned, status=Status.UNAVAILABLE, started_at=1.0, ended_at=1.0))
    assert tags["almaflow.status"] == "unavailable"
    assert tags["almaflow.failure"] == "missing_dependency"
    assert tags["almaflow.unavailable"] == "torch_tensorrt is missing"
    assert tags["almaflow.install"] == "pip install x"


def test_run_names() -> None:
    assert names.run_name(JOB, OUTCOME) == "EXPORT+COMPILE_INDUCTOR resnet18 b2"
    assert names.run_name(JOB) == "resnet18 b2 tier 2"
    assert names.run_name(replace(JOB, config={"conversions": ["EAGER", 2]})) == "resnet18 b2, 2 conversions"


@pytest.mark.parametrize(
    "changed",
    [
        replace(JOB, model=replace(JOB.model, batch_size=4)),
        replace(JOB, model=replace(JOB.model, arch="resnet34")),
        replace(JOB, model=replace(JOB.model, kwargs={"width": 2})),
        replace(JOB, hardware=replace(JOB.hardware, threads=1)),
        replace(JOB, environment=JOB.environment | {"cpu": "another"}),
        replace(JOB, environment=JOB.environment | {"torch": "2.7.1"}),
        replace(JOB, environment=JOB.environment | {"openvino": "2026.4.1"}),
    ],
)
def test_the_fingerprint_changes_with_what_a_figure_depends_on(changed: Job) -> None:
    assert fingerprint(changed, PLANNED) != fingerprint(JOB, PLANNED)


@pytest.mark.parametrize("field", ["name", "engine", "device", "dtype", "input_dtype"])
def test_the_fingerprint_changes_with_the_conversion(field: str) -> None:
    changed: dict[str, Any] = {field: "other"}
    other = replace(PLANNED, **changed)
    assert fingerprint(JOB, other) != fingerprint(JOB, PLANNED)


def test_the_fingerprint_is_the_same_on_another_day() -> None:
    later = replace(
        JOB,
        job_id="later",
        directory="/elsewhere",
        started_at=2e9,
        measure=replace(JOB.measure, min_samples=128),
        model=replace(JOB.model, seed=7),
        environment={"memory_gb": "7.9", **JOB.environment, "git_commit": "def5678"},
    )
    assert fingerprint(later, PLANNED) == fingerprint(JOB, PLANNED)
    assert re.fullmatch(r"[0-9a-f]{16}", fingerprint(JOB, PLANNED))


digests = st.dictionaries(st.sampled_from(["code", "weights", "inputs"]), st.sampled_from(["1" * 32, "2" * 32]))


def identified(digests: dict[str, str]) -> Job:
    assert JOB.prepared is not None
    return replace(JOB, prepared=replace(JOB.prepared, digests=digests))


@given(digests, digests)
def test_figures_of_two_models_of_one_name_are_told_apart(one: dict[str, str], other: dict[str, str]) -> None:
    first, second = identified(one), identified(other)
    same = one == other
    assert (fingerprint(first, PLANNED) == fingerprint(second, PLANNED)) == same
    assert fingerprint_without_digests(first, PLANNED) == fingerprint(JOB, PLANNED)  # by which a store is searched
    tags = [names.tags(job, OUTCOME) for job in (first, second)]
    assert [digests_of(each) for each in tags] == [one, other]
    assert (model_digest(tags[0]) == model_digest(tags[1])) == same
    assert (model_digest(tags[0]) == "") == (one == {})
    assert digests_of(names.job_tags(first)) == one


def test_logical_keys_are_one_per_result() -> None:
    other = replace(OUTCOME, planned=replace(PLANNED, name="EAGER"))
    keys = {logical_key(job, outcome) for job in (JOB, replace(JOB, job_id="b")) for outcome in (OUTCOME, other)}
    assert len(keys) == 4
    assert logical_key(JOB, OUTCOME) == logical_key(JOB, replace(OUTCOME, started_at=5.0, run_id="r"))


@given(st.text(max_size=400))
def test_every_key_is_one_that_mlflow_takes(text: str) -> None:
    key = names.key(text)
    assert re.fullmatch(r"[\w.\-/ ]{1,250}", key)
    assert posixpath.normpath(key) == key
    assert not key.startswith(("/", ".."))
    assert key != "."


@given(st.from_regex(r"[a-z_]{1,20}(/[a-z0-9_]{1,20})?", fullmatch=True))
def test_the_contracts_names_are_kept_as_they_are(name: str) -> None:
    assert names.key(name) == name


@given(st.text(max_size=200), st.integers(min_value=20, max_value=100))
def test_a_cut_is_visible(text: str, length: int) -> None:
    result = names.cut(text, length)
    assert len(result) <= length
    assert (result == text) == (len(text) <= length)
    assert result == text or result.endswith(names.CUT)


def test_long_values_are_cut_to_mlflows_limits() -> None:
    job = replace(JOB, model=replace(JOB.model, name="m" * 9000), environment={"cpu": "c" * 9000})
    assert len(names.params(job, OUTCOME)["model"]) == names.PARAM_LENGTH
    assert len(names.tags(job, OUTCOME)["env.cpu"]) == names.TAG_LENGTH
    assert len(names.run_name(job, OUTCOME)) == names.RUN_NAME_LENGTH


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_figure_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"fidelity/sqnr_db"):
        names.check_metrics({"latency_ms": 1.0, "fidelity/sqnr_db": value})


def test_a_metric_name_is_never_changed_silently() -> None:
    with pytest.raises(ValueError, match="no metric by the name"):
        names.check_metrics({"latency(ms)": 1.0})
    names.check_metrics({"latency_ms": 1.0, "latency/p90": 2})
