"""A job is resumed with what the store has of this very model, and with nothing of what it was before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.command_directory import QUICK, Place

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(8, 8)
    def forward(self, x):
        return self.line(x)
"""
ARGUMENTS = (
    "model=custom",
    "model._target_=my_models.Net",
    "model.inputs=[{shape: [8]}]",
    "conversions=[EAGER]",
    "resume=true",
    *QUICK,
)


def test_an_edited_model_is_measured_again_and_the_same_one_is_not(tmp_path: Path) -> None:
    place, told = Place(tmp_path).with_store(), []
    for seed, text in (("1", NET), ("2", NET), ("2", NET.replace("self.line(x)", "self.line(x).tanh().tanh()"))):
        (tmp_path / "my_models.py").write_text(text, encoding="utf-8")
        assert place.run(*ARGUMENTS, PYTHONHASHSEED=seed) == 0, place.stderr
        told.append(place.stderr)
    first, same, edited = told
    assert "EAGER: ok" in first
    assert "of another model" not in first
    assert "nothing to measure" in same
    assert "of another model (other code, operations): measured again" in edited
    assert "EAGER: ok" in edited
    assert len(list((place.home / "jobs").iterdir())) == 2
