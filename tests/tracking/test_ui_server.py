"""The server of MLflow's pages: its port, and what is said where it does not start."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.support.misbehaving_launch import gone

from almaflow.errors import AlmaflowError, UsageError
from almaflow.tracking import ui_server

if TYPE_CHECKING:
    from pathlib import Path


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            ui_server.free_port(port)
    assert ui_server.free_port(port) == port


def test_the_next_free_port_is_taken_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(ui_server, "FIRST_PORT", taken.getsockname()[1])
        assert ui_server.free_port(None) > taken.getsockname()[1]


def test_a_server_that_dies_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    port = ui_server.free_port(None)
    uri = f"sqlite:///{tmp_path}/home/mlflow.db"
    with pytest.raises(AlmaflowError, match=rf"did not start: see .*ui-{port}\.log"), ui_server.serving(uri, port):
        pytest.fail("there is no server")


def test_a_server_ends_with_all_that_it_started_when_we_are_gone() -> None:
    server = "import os; os.fork(); os.write(1, b'%d\\n' % os.getpid()); import time; time.sleep(60)"
    command = [*ui_server.ENDING_WITH_US, sys.executable, "-c", server]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        started = {int(process.stdout.readline()) for _ in range(2)}
        assert process.pid in started
        assert process.poll() is None
        process.stdin.close()  # as the system does for a process that it ends
        assert process.wait(5) == -signal.SIGTERM
    assert gone(*started)
