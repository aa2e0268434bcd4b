from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from almaflow.errors import AlmaflowError
from almaflow.machine import lock
from almaflow.machine.lock import alone

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys, time
from almaflow.machine.lock import alone
with alone("wait", print):
    print("held", flush=True)
    time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of the test's own."""
    monkeypatch.setenv(lock.NAME_FOR_TESTS, f"almaflow-test-{os.getpid()}-{tmp_path.name}")


def holder(seconds: float, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_job_is_refused_or_goes_on_beside_as_it_is_told() -> None:
    said: list[str] = []
    with holder(30) as process:
        with pytest.raises(AlmaflowError, match=r"measure\.exclusive=wait"), alone("refuse", said.append):
            pytest.fail("was let in")
        with alone("ignore", said.append):
            assert said == []
        process.kill()


def test_a_second_job_waits_says_so_and_gets_its_turn() -> None:
    said: list[str] = []
    with holder(1.5) as process:
        started = time.monotonic()
        with alone("wait", said.append):
            assert process.wait(5) == 0
            assert time.monotonic() - started > 0.5
    assert len(said) == 1
    assert "waiting" in said[0]


def test_a_killed_job_leaves_the_machine_free() -> None:
    with holder(30) as process:
        process.kill()
        process.wait()
        with alone("refuse", pytest.fail):
            pass


def test_one_job_after_the_other() -> None:
    for _ in range(2):
        with alone("refuse", pytest.fail):
            pass


def test_it_is_one_lock_whatever_directories_for_temporary_files_and_homes_jobs_have(tmp_path: Path) -> None:
    places = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "ALMAFLOW_HOME": str(tmp_path)}
    with holder(30, **places) as process:
        with pytest.raises(AlmaflowError, match=r"measure\.exclusive=wait"), alone("refuse", pytest.fail):
            pytest.fail("was let in")
        process.kill()


def test_a_system_without_such_a_lock_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoSuchNames(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", NoSuchNames)
    said = r"\(Permission denied\); measure\.exclusive=ignore goes on"
    with pytest.raises(AlmaflowError, match=said), alone("refuse", pytest.fail):
        pytest.fail("was let in")
    with alone("ignore", pytest.fail):
        pass
