"""The machine's tags on runs of a user's own script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from almaflow import machine
from almaflow.tracking.run_context import EnvironmentTags

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import json, sys, mlflow
light = [name for name in ("torch", "almaflow.machine") if name in sys.modules]
mlflow.set_tracking_uri("sqlite:///own.db")
with mlflow.start_run() as run:
    pass
print(json.dumps([light, mlflow.get_run(run.info.run_id).data.tags]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("switch", ["", "1"])
def test_a_users_own_script(tmp_path: Path, switch: str) -> None:
    environment = {**os.environ, "ALMAFLOW_ENV_TAGS": switch}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded_at_import, tags = json.loads(done.stdout.splitlines()[-1])
    assert loaded_at_import == []
    told = {name: value for name, value in tags.items() if name.startswith("env.")}
    if not switch:
        assert told == {}
        return
    assert told["env.cpu"] == machine.describe().cpu
    assert {"env.torch", "env.python", "env.physical_cores"} <= told.keys()


def test_what_goes_wrong_does_not_reach_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> dict[str, str]:
        message = "no such processor"
        raise RuntimeError(message)

    monkeypatch.setattr(machine, "environment", fails)
    assert EnvironmentTags().tags() == {}
