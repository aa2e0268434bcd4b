"""What is prepared before any conversion: inputs, eager's answers, and a worker that serves as the control."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.minimal_task import LINEAR, Events, TurnInbox, do_prepare, make_task

from almaflow.errors import UsageError
from almaflow.records import EvaluateSpec, InputSpec, ModelSpec, TargetSpec

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


def test_preparing_leaves_the_inputs_and_eagers_outputs(tmp_path: Path) -> None:
    import torch

    task = make_task(tmp_path, fidelity_inputs=3)
    prepared = do_prepare(task)
    reference = torch.load(task.reference_path, weights_only=True)
    assert len(reference["batches"]) == len(reference["outputs"]) == 3
    assert not torch.equal(reference["batches"][0][0], reference["batches"][1][0])
    assert reference["settled"] == {}  # not ours to change
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 3)
    with torch.no_grad():
        assert torch.equal(reference["outputs"][2][0][2], model(reference["batches"][2][0]))
    assert [(spec.shape, spec.dtype) for spec in (*prepared.inputs, *prepared.outputs)] == [
        ((2, 6), "float32"),
        ((2, 3), "float32"),
    ]
    assert prepared.parameters == 21
    assert prepared.threads["torch"] == task.hardware.threads
    assert prepared.eager_s > 0
    assert prepared.notes == ()
    assert prepared.workload is not None
    assert prepared.workload.flops == 2 * 2 * 6 * 3


def test_operations_are_counted_for_a_gpu_too(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    task = make_task(tmp_path)
    prepared = do_prepare(replace(task, hardware=replace(task.hardware, device="cuda")))
    assert prepared.workload == do_prepare(task).workload


def test_preparing_says_when_eager_cannot_tell_right_from_wrong(tmp_path: Path) -> None:
    deaf = replace(LINEAR, target="torch.nn.Threshold", kwargs={"threshold": 1e9, "value": 4.0})
    (note,) = do_prepare(make_task(tmp_path, deaf)).notes
    assert "eager answers the same to every input" in note


@pytest.mark.parametrize(
    "model",
    [
        replace(LINEAR, inputs=(InputSpec((7,)),)),
        ModelSpec("resnet18", arch="resnet18", inputs=(InputSpec((1, 32, 32)),)),
    ],
    ids=["a caller's model", "a random model, which is settled first"],
)
def test_inputs_that_do_not_fit_are_the_users_to_mend(tmp_path: Path, model: ModelSpec) -> None:
    with pytest.raises(
        UsageError, match=r"the model does not run on inputs of shape .*; change model\.inputs"
    ) as caught:
        do_prepare(make_task(tmp_path, model))
    assert "\n" not in str(caught.value)


def test_the_prepared_worker_serves_rounds_of_eager_calls_when_it_is_asked(tmp_path: Path) -> None:
    events, turns = Events(), TurnInbox(left=3)
    do_prepare(make_task(tmp_path, warmup_calls=1, warmup_time_s=0.0), events, turns)
    assert events.phases == ["ready", "warm-up", *["measure", "ready"] * 3]
    assert events.told[0] == ("ready", None)
    assert len(events.reports) == 3
    for report in events.reports:
        assert report.count == 3
        assert 0 < report.median_ms <= 1000 * report.wall_s
    assert turns.asked == 4


def test_a_prepared_worker_that_nobody_asks_does_not_warm_up(tmp_path: Path) -> None:
    events = Events()
    do_prepare(make_task(tmp_path), events)
    assert events.phases == ["ready"]


CACHED = """
import functools
import torch

@functools.cache
def table(length):
    return torch.arange(float(length)).cos()

class Cached(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x * table(x.shape[1]))
"""


def test_tensors_that_code_makes_at_its_first_call_and_keeps_are_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cached_table.py").write_text(CACHED, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    events = Events()
    task = make_task(tmp_path, replace(LINEAR, target="cached_table.Cached"))
    prepared = do_prepare(task, events, TurnInbox(left=2))
    assert prepared.workload
    assert prepared.workload.flops > 0
    assert len(events.reports) == 2


def test_eager_is_evaluated_before_anything_else_and_its_scores_are_left_for_the_others(tmp_path: Path) -> None:
    import torch

    here = "tests.support.labelled_loaders"
    model = ModelSpec("digits", target=f"{here}.Classifier", data_loader=TargetSpec(f"{here}.digits"), batch_size=2)
    model = replace(model, calibration_loader=TargetSpec(f"{here}.digits", {"first": 1}), calibration_samples=4)
    task = replace(make_task(tmp_path, model), evaluate=EvaluateSpec("almaflow.worker.evaluations.top1"))
    events = Events()
    prepared = do_prepare(task, events)
    assert prepared.quality == {"top1": pytest.approx(5 / 7)}
    assert prepared.quality_samples == 7
    assert events.phases == ["evaluate", "ready"]
    scores = torch.load(task.reference_path, weights_only=True)["scores"]
    assert scores["by_name"]["top1"].tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert len(torch.load(tmp_path / "calibration.pt", weights_only=True)) == 2
    with pytest.raises(UsageError, match="hold no labels"):
        do_prepare(replace(task, model=replace(model, data_loader=TargetSpec(f"{here}.unlabelled"))))
