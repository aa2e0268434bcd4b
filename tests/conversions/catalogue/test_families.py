"""What a runtime is like stands in one row, gets into every plan, and changes no fingerprint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.example_jobs import job

from almaflow import machine
from almaflow.conversions.catalogue import families
from almaflow.conversions.catalogue.alma import STEPS as ALMA_STEPS
from almaflow.conversions.catalogue.families import FAMILIES, Family
from almaflow.conversions.catalogue.native import STEPS
from almaflow.conversions.catalogue.plan import plan, with_traits
from almaflow.conversions.catalogue.steps import Step, compose
from almaflow.records import Outcome, Status, read_json
from almaflow.records.plan import UNKNOWN, RuntimeTraits
from almaflow.tracking.fingerprints import fingerprint, plan_fingerprint

EXAMPLES = sorted(Path(__file__).parents[3].glob("mlruns_example/mlartifacts/*/*/artifacts/outcome.json"))
VERSIONS = (
    *("cpu", "physical_cores", "governor", "gpu", "python", "torch", "torchvision", "torchao", "alma", "onnxruntime"),
    *("openvino", "nncf", "quanto", "executorch", "tvm", "tensorrt"),
)
JOB = replace(job(), environment={name: f"{number}.0" for number, name in enumerate(VERSIONS)})

BEFORE = {
    "EAGER": "3a0dd91788f800e1",
    "ONNX_CPU": "9c70798525cfe4b9",
    "COMPILE_OPENVINO": "f5cd7a02f82f529d",
    "OPENVINO_INT8": "92d7ba6cec37943a",
    "OPTIMUM_QUANTO_WI8": "ed9bd20ab977455e",
    "EXECUTORCH_XNNPACK": "c05fb7bdd98c5845",
    "COMPILE_TVM": "48eee47af6f08003",
}
"""Fingerprints of ``JOB`` as almaflow computed them when it looked runtimes up by family."""
TIER_BEFORE = "fadd36d6def5f775"
"""Fingerprint of the plan of tier 2 on a CPU."""


def test_fingerprints_are_those_of_before() -> None:
    planned = plan(list(BEFORE), 3, "cpu", allow_device_override=True)
    assert {each.name: fingerprint(JOB, each) for each in planned} == BEFORE
    assert plan_fingerprint(JOB, plan(None, 2, "cpu", allow_device_override=True)) == TIER_BEFORE


def test_records_of_before_are_read_as_if_they_had_the_traits(tmp_path: Path) -> None:
    outcomes = []
    for path in EXAMPLES:
        stored = json.loads(path.read_text(encoding="utf-8"))
        del stored["planned"]["traits"]
        (tmp_path / "outcome.json").write_text(json.dumps(stored), encoding="utf-8")
        outcomes.append(read_json(tmp_path / "outcome.json", Outcome))
    assert len(outcomes) > 80
    assert {each.planned.traits for each in outcomes} == {UNKNOWN}
    for each in outcomes:
        (now,) = plan([each.planned.name], 1, each.planned.device, allow_device_override=True)
        filled = with_traits(each)
        assert filled == replace(each, planned=replace(each.planned, traits=now.traits))
        assert with_traits(filled) is filled


@pytest.mark.parametrize(("family", "runtimes"), [("onnx", ("onnxruntime",)), ("own", ())])
def test_a_plug_in_s_record_of_before_goes_by_its_family(family: str, runtimes: tuple[str, ...]) -> None:
    (eager,) = plan(["EAGER"], 1, "cpu", allow_device_override=True)
    planned = replace(eager, family=family, engine="registered", builder="theirs:build", traits=UNKNOWN)
    read = with_traits(Outcome(planned, Status.OK, started_at=0.0, ended_at=1.0))
    assert read.planned.traits.runtimes == runtimes
    assert read.planned.traits.fuses_elementwise


def test_every_row_is_some_step_s_and_every_step_s_is_there() -> None:
    assert {step.family for step in (ALMA_STEPS | STEPS).values()} == {None, *FAMILIES}


def test_a_runtime_of_our_own_needs_a_row_and_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside its module in ``native``; its version is in the environment and in the fingerprint without more."""
    row = Family(RuntimeTraits(("packaging",), preload=("toy",), keeps_memory=True))
    monkeypatch.setitem(families.FAMILIES, "toy", row)
    steps = STEPS | {"TOY": Step("a toy runs it", "toy", "cpu", ("packaging",))}
    entry = compose("FP16+TOY", steps, needs=("torch",), engine="native")
    assert (entry.family, entry.traits.runtimes, entry.traits.keeps_memory) == ("toy", ("packaging",), True)
    assert entry.traits.preload[-1] == "toy"
    environment = machine.environment(entry.traits.runtimes, git=False)
    (eager,) = plan(["EAGER"], 1, "cpu", allow_device_override=True)
    planned = replace(eager, traits=entry.traits)
    older = replace(JOB, environment=environment | {"packaging": "1.0"})
    assert fingerprint(replace(JOB, environment=environment), planned) != fingerprint(older, planned)
