"""MLflow's server on the store of this machine, for its pages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from almaflow.errors import AlmaflowError, UsageError
from almaflow.machine import home
from almaflow.tracking.uris import artifact_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
FIRST_PORT = 5000
PORTS_TRIED = 20
HEALTHY_WITHIN_S = 120.0
ENDED_WITHIN_S = 10.0

ENDING_WITH_US = (
    "sh",
    "-c",
    # A shell gives what it starts in the background another standard input than its own.
    "exec 3<&0 </dev/null; (trap '' TERM; cat <&3; kill -TERM 0; sleep 5; kill -KILL 0) & exec \"$@\" 3<&-",
    "almaflow ui",
)
"""What starts the server so that it ends with us, also where we are killed: the shell's ``cat`` ends with its standard
input, whose other end is ours, and then everything in the server's session is ended."""


SERVER_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Jobs of MLflow judge traces of language models. Several processes wait for them, and each imports MLflow.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
"""Variables of the server where the user has not set them."""


def free_port(wanted: int | None) -> int:
    """Return the wanted port, or the first free one from ``FIRST_PORT`` on.

    Raises:
        UsageError: the wanted port, or every port that was tried, is taken.
    """
    ports = [wanted] if wanted else list(range(FIRST_PORT, FIRST_PORT + PORTS_TRIED))
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, port))
                return port
    taken = f"port {wanted} is" if wanted else f"the ports {ports[0]} to {ports[-1]} are"
    message = f"{taken} taken or not allowed: choose another one with --port"
    raise UsageError(message)


def log_path(port: int) -> Path:
    """Return the file that keeps what the server at this port prints."""
    return home() / f"ui-{port}.log"


@contextmanager
def serving(uri: str, port: int, workers: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """Start an MLflow server, wait until it is healthy, and end it with the body.

    Raises:
        AlmaflowError: the server did not start.
    """
    artifacts = artifact_root(uri)
    artifacts.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "mlflow", "server"]
    command += ["--host", HOST, "--port", str(port), "--workers", str(workers)]
    command += ["--artifacts-destination", str(artifacts)]
    # The store's URI may hold a password, and everybody on a machine sees command lines.
    environment = SERVER_DEFAULTS | os.environ | {"MLFLOW_BACKEND_STORE_URI": uri}
    log_path(port).parent.mkdir(parents=True, exist_ok=True)
    with log_path(port).open("wb") as log:
        process = subprocess.Popen(
            [*ENDING_WITH_US, *command],
            env=environment,
            cwd=artifacts.parent,  # MLflow leaves files in its working directory
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_healthy(process, port)
            yield process
        finally:
            _end(process)


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int) -> None:
    opener = build_opener(ProxyHandler({}))  # the way to this machine leads through no proxy
    deadline = time.monotonic() + HEALTHY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(URLError, OSError), opener.open(f"http://{HOST}:{port}/health", timeout=2) as answer:
            if answer.status == HTTPStatus.OK:
                return
        time.sleep(0.2)
    message = f"MLflow's server did not start: see {log_path(port)}"
    raise AlmaflowError(message)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and whatever it started."""
    if process.stdin:
        process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDED_WITHIN_S)
