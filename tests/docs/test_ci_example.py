"""``examples/ci/nightly.sh`` as it is: run, check, fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "ci"


@pytest.mark.slow
def test_a_night_passes_within_the_limit_and_fails_beyond_it(tmp_path: Path) -> None:
    predictions = tmp_path / "predictions.csv"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ALMAFLOW_HOME": str(tmp_path / "home"),
        "MODELS": "simple",
        "MEASURE": "quick",
        "PREDICTIONS": str(predictions),
    }

    def first_night(limit_pct: int, latency_ms: float) -> subprocess.CompletedProcess[str]:
        predictions.write_text(f"model,latency_ms\nsimple,{latency_ms}\n", encoding="utf-8")
        return subprocess.run(
            [str(EXAMPLES / "nightly.sh")], cwd=tmp_path, env=environment | {
                "LIMIT_PCT": str(limit_pct), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/{limit_pct}.db",
            }, capture_output=True, text=True, check=False,
        )  # fmt: skip

    well = first_night(1_000_000, 1)
    assert well.returncode == 0, well.stdout + well.stderr
    assert "tracked: 2 of 2 series had news" in well.stderr
    badly = first_night(100, 1000)
    assert badly.returncode == 3, badly.stdout + badly.stderr
    assert "above: simple b1 EAGER on" in badly.stdout
    assert "<svg" in (tmp_path / "accuracy.html").read_text(encoding="utf-8")
    nothing = subprocess.run(
        [str(EXAMPLES / "nightly.sh")], cwd=tmp_path, env=environment | {"MODELS": "nothing"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert nothing.returncode == 2
