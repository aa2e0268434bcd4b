from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from almaflow.errors import AlmaflowError
from almaflow.machine.lock import alone

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys, tempfile, time
from almaflow.machine.lock import alone
tempfile.tempdir = sys.argv[1]
with alone("wait", print):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of the test's own: a job that measures on this machine is not waited for."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def holder(tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(tmp_path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_job_is_refused_or_goes_on_beside_as_it_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    with holder(tmp_path, 30) as process:
        with pytest.raises(AlmaflowError, match=r"measure\.exclusive=wait"), alone("refuse", said.append):
            pytest.fail("was let in")
        with alone("ignore", said.append):
            assert said == []
        process.kill()


def test_a_second_job_waits_says_so_and_gets_its_turn(tmp_path: Path) -> None:
    said: list[str] = []
    with holder(tmp_path, 1.5) as process:
        started = time.monotonic()
        with alone("wait", said.append):
            assert process.wait(5) == 0
            assert time.monotonic() - started > 0.5
    assert len(said) == 1
    assert "waiting" in said[0]


def test_a_killed_job_leaves_the_machine_free(tmp_path: Path) -> None:
    with holder(tmp_path, 30) as process:
        process.kill()
        process.wait()
        with alone("refuse", pytest.fail):
            pass


def test_one_job_after_the_other() -> None:
    for _ in range(2):
        with alone("refuse", pytest.fail):
            pass
