"""Real processes: backends that raise, crash, hang or answer wrongly on one of three segments cost themselves only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

BAD = """
import os
import time
from almaflow.conversions import BuiltModel, ConversionPlugin

KINDS = ("RAISES", "CRASHES", "HANGS", "WRONG")
PLUGINS = [ConversionPlugin(kind, f"bad_package:{kind.lower()}", f"{kind.lower()} for one of three") for kind in KINDS]


def _bad(model, work, misbehave):
    ill = work.batches[0][0].shape[-1] == 24

    def forward(*inputs):
        if ill:
            misbehave()
            return tuple(each.flip(0) * 3 for each in model(*inputs))
        return model(*inputs)

    return BuiltModel(forward, model=model)


def _refuse():
    raise ValueError("not this one")


def raises(model, work):
    return _bad(model, work, _refuse)


def crashes(model, work):
    return _bad(model, work, os.abort)


def hangs(model, work):
    return _bad(model, work, lambda: time.sleep(3600))


def wrong(model, work):
    return _bad(model, work, lambda: None)
"""
APPLICATION = """
import json
import torch
import almaflow

torch.manual_seed(0)
first, second, third = torch.nn.Linear(16, 24), torch.nn.Linear(24, 32), torch.nn.Linear(32, 4)


@almaflow.accelerate
def predict(x):
    x = first(x)
    torch._dynamo.graph_break()
    x = second(x)
    torch._dynamo.graph_break()
    return third(x)


quick = ["measure.min_samples=8", "measure.min_time_s=0.02", "measure.max_time_s=0.2", "hardware.threads=1"]
backends = [f"local/{kind}" for kind in ("EAGER", "RAISES", "CRASHES", "HANGS", "WRONG")]
overrides = [*quick, "measure.time_budget_s=30", "measure.prepare_jobs=1"]
with almaflow.profile(*backends, measure="quick", overrides=overrides, min_segment_us=0, print_to=None) as session:
    for _ in range(6):
        predict(torch.randn(64, 16))
print(json.dumps(session.report().to_dict()))
"""


@pytest.mark.slow
def test_the_other_cells_stand_and_the_broken_total_is_not_there(stored_home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad_package.py").write_text(BAD, encoding="utf-8")
    information = tmp_path / "bad_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-package\nVersion: 1.0\n", encoding="utf-8")
    (information / "entry_points.txt").write_text(
        "[almaflow.conversions]\nall = bad_package:PLUGINS\n", encoding="utf-8"
    )
    (tmp_path / "app.py").write_text(APPLICATION, encoding="utf-8")
    paths = [str(tmp_path), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "ALMAFLOW_HOME": str(stored_home)}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "app.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (function,) = json.loads(done.stdout.splitlines()[-1])["functions"]
    totals = {each["conversion"]: each for each in function["totals"]}
    broken = {"RAISES": "error", "CRASHES": "crashed", "HANGS": "timeout", "WRONG": "wrong_output"}
    assert {*totals} == {"best", "EAGER", *broken}
    assert totals["EAGER"]["ms"] > 0
    assert totals["best"]["ms"] <= totals["EAGER"]["ms"]
    for name, failure in broken.items():
        assert (totals[name]["ms"], totals[name]["failures"]) == (None, 1), name
        cells = [cell for part in function["segments"] for cell in part["cells"] if cell["conversion"] == name]
        assert sorted(str(each["status"]) for each in cells) == ["failed", "ok", "ok"], name
        (failed,) = (each for each in cells if each["status"] == "failed")
        assert (failed["failure"], failed["ms"]) == (failure, None)
    ill = next(part for part in function["segments"] if any(each["failure"] for each in part["cells"]))
    assert ill["best"] == "EAGER"
