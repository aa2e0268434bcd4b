"""``examples/ci/nightly.sh`` as it is: run, check, fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "ci"
MEASURED_ALREADY = """#!/bin/sh
test "$1" = run || exec {almaflow} "$@"
"""
"""A command that measures nothing: the night before has been measured."""


@pytest.mark.slow
def test_a_night_passes_within_the_limit_and_fails_beyond_it(tmp_path: Path) -> None:
    predictions = tmp_path / "predictions.csv"
    predictions.write_text("model,latency_ms\nsimple,1000\n", encoding="utf-8")
    programs = Path(sys.executable).parent
    environment = os.environ | {
        "ALMAFLOW_HOME": str(tmp_path / "home"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/nights.db",
        "MODELS": "simple",
        "MEASURE": "quick",
        "PREDICTIONS": str(predictions),
    }

    def night(place: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        paths = {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(
            [str(EXAMPLES / "nightly.sh")], cwd=tmp_path, env=environment | paths | variables,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    well = night(programs, LIMIT_PCT="1000000000")
    assert well.returncode == 0, well.stdout + well.stderr
    assert "tracked: 2 of 2 series have new points" in well.stderr
    again = tmp_path / "again"
    again.mkdir()
    (again / "almaflow").write_text(MEASURED_ALREADY.format(almaflow=programs / "almaflow"), encoding="utf-8")
    (again / "almaflow").chmod(0o755)
    badly = night(again, LIMIT_PCT="100")
    assert badly.returncode == 3, badly.stdout + badly.stderr
    assert "above: simple b1 EAGER on" in badly.stdout
    assert "tracked: 0 of 2 series have new points" in badly.stderr
    assert "<svg" in (tmp_path / "accuracy.html").read_text(encoding="utf-8")
    nothing = night(programs, MODELS="nothing")
    assert nothing.returncode == 2
