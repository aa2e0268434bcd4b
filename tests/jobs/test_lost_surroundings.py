"""A job whose readers go away is done all the same, and one whose directory is removed says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.command_directory import LINEAR, Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.commands import Zygote

pytestmark = pytest.mark.slow


def test_a_job_whose_readers_go_away_is_done_and_stored(tmp_path: Path) -> None:
    place = Place(tmp_path).with_store()
    process = subprocess.Popen(
        [sys.executable, "-m", "almaflow", "run", *LINEAR, "conversions=[EAGER]"],
        cwd=tmp_path,
        env=place.environment({"PYTHONWARNINGS": "error"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert "MLflow store" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(300) == 0
    assert {name: run.info.status for name, run in place.runs().items()} == {"job": "FINISHED", "EAGER": "FINISHED"}


def test_a_job_whose_directory_is_removed_says_so_and_is_closed(tmp_path: Path, zygote: Zygote) -> None:
    place = Place(tmp_path, zygote).with_store()
    with place.start(*LINEAR, "conversions=[EAGER,EXPORT+EAGER]", "measure.min_time_s=2") as process:
        while "EXPORT+EAGER: convert" not in place.stderr:
            assert process.poll() is None, place.stderr
        shutil.rmtree(place.job()[0])
        process.communicate()
    assert process.returncode == 1
    *_, last = place.stderr.splitlines()
    assert last.startswith("almaflow: ")
    assert "the job's directory was removed while it ran" in last
    assert "crashed" not in place.stderr
    assert "warning" not in place.stderr
    assert {name: run.info.status for name, run in place.runs().items()} == {"job": "FAILED"}
