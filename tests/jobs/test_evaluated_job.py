"""A job on a trained classifier of digits: each conversion's quality beside its latency."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.command_directory import QUICK, Place

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.alma]

MODULE = """
import json
import torch

CENTRES = torch.randn(10, 16, generator=torch.Generator().manual_seed(0))

def samples(seed, count, size=8):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=generator)
    x = CENTRES[labels] + 0.9 * torch.randn(count, 16, generator=generator)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), size)

class Nearest(torch.nn.Module):
    '''The class of the nearest centre, which is what training would find.'''
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(16, 10)
        with torch.no_grad():
            self.line.weight.copy_(CENTRES)
            self.line.bias.copy_(-CENTRES.square().sum(1) / 2)
    def forward(self, x):
        return self.line(x)

def figures(outputs, labels):
    with open("task.json") as stream:
        task = json.load(stream)
    if task["conversion"] and task["conversion"]["name"] == "ONNX_CPU":
        raise ValueError("no figures of this one")
    return {"right": outputs.argmax(1) == labels}
"""
ARGUMENTS = (
    "model=custom",
    "model._target_=my_digits.Nearest",
    "model.data_loader._target_=my_digits.samples",
    "model.data_loader.kwargs.seed=1",
    "model.data_loader.kwargs.count=300",
    "batch_size=8",
    "model.calibration_loader._target_=my_digits.samples",
    "model.calibration_loader.kwargs={seed: 2, count: 100}",
    "model.calibration_samples=64",
    "conversions=[EAGER,ONNX_CPU,ONNX_CPU_INT8_STATIC]",
    "evaluate._target_=my_digits.figures",
    "evaluate.max_drop=0.05",
    "output=o.json",
    *QUICK,
)


def test_quality_beside_latency_and_an_evaluation_that_fails(tmp_path: Path) -> None:
    place = Place(tmp_path).with_store()
    (tmp_path / "my_digits.py").write_text(MODULE, encoding="utf-8")
    assert place.run(*ARGUMENTS) == 0, place.stderr
    output = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    eager, failing, static = output["conversions"]
    for each in (eager, static):
        assert (each["status"], each["quality/samples"]) == ("ok", 300), each
        assert 0.8 < each["quality/right"] <= 1
        assert each["quality/right_drop_low"] <= each["quality/right_drop"] <= each["quality/right_drop_high"]
        assert each["quality_verdict"] == "ok"
    assert eager["quality/right_drop"] == 0
    assert static["calibration/samples"] == 64
    assert "calibration/samples" not in eager
    # The measurement stays where the evaluation fails.
    assert failing["status"] == "ok"
    assert failing["latency_ms"] > 0
    told = "not evaluated: evaluate._target_=my_digits.figures: raised ValueError: no figures of this one"
    assert failing["quality_verdict"] == told
    assert f"ONNX_CPU: {told}" in output["warnings"]
    assert not any("calibrated on" in each for each in output["warnings"])
    assert place.runs()["ONNX_CPU_INT8_STATIC"].data.params["evaluate.target"] == "my_digits.figures"
