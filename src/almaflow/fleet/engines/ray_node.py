"""Ray's own processes of the head or of a machine, started by ``ray start`` and kept as one child.

Ray and its processes get the variables of measuring processes, and of Ray's only what the fleet needs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

import psutil

from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.engines.ray_calls import explain
from almaflow.fleet.environment import measuring_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STARTED = "Ray runtime started"
STARTS_WITHIN_S = 120.0
ENDS_WITHIN_S = 5.0
ANSWERS_WITHIN_S = 5.0
HEAD_RESOURCE = "almaflow_head"
SHARE = 0.001
"""What a process takes of its node's one: an earlier process may still hold its share."""
OBJECT_STORE = 80_000_000
"""Bytes of shared memory for Ray's objects, near the least that Ray takes: results and files go in small pieces."""
RAY_VARIABLES = ("RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
"""Variables of Ray's own that are passed on: paths, no secrets."""


def ray_environment(token: Path) -> dict[str, str]:
    """Return the variables of Ray's processes, which read the token from its file."""
    given = {name: os.environ[name] for name in RAY_VARIABLES if name in os.environ}
    quick = {"RAY_NUM_REDIS_GET_RETRIES": "3", "RAY_USAGE_STATS_ENABLED": "0"}  # else a wrong token takes 25 s
    auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    return measuring_environment() | given | quick | auth


def head_command(host: str, port: int) -> list[str]:
    """Return what starts Ray's head. Coordinators come in at the port after its own."""
    return [
        *_ray_start(host, HEAD_RESOURCE),
        "--head",
        f"--port={port}",
        f"--ray-client-server-port={port + 1}",
        "--include-dashboard=false",
    ]


def machine_command(head: str, host: str, instance: str) -> list[str]:
    """Return what starts Ray on a machine, as quiet as it can be: nobody's ordinary task lands there."""
    return [*_ray_start(host, machine_resource(instance)), f"--address={head}"]


def machine_resource(instance: str) -> str:
    """Return the name of what only Ray's node of this machine has, so that the agent begins there."""
    return f"almaflow_{instance}"


def _ray_start(host: str, resource: str) -> list[str]:
    # Any free ports: Ray's own range has those of a head in it, and two nodes on one machine would share it.
    ports = ["--min-worker-port=0", "--max-worker-port=0"]
    quiet = ["--include-log-monitor=false", "--disable-usage-stats", f"--object-store-memory={OBJECT_STORE}"]
    return [
        sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=0",
        f"--node-ip-address={host}", f"--resources={json.dumps({resource: 1})}", *ports, *quiet,
    ]  # fmt: skip


@dataclass
class RayNode:
    """Ray's processes here, below one that ends where one of them does."""

    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, command: Sequence[str], environment: dict[str, str], log: Path) -> RayNode:
        """Start Ray, and wait until it runs.

        Raises:
            AlmaflowError: it does not, and the line says why.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
            )
        node = cls(process, log)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline and process.poll() is None:
            if STARTED in node.said():
                return node
            time.sleep(0.1)
        node.stop()
        message = explain(node.said()) or f"Ray did not start; {log} says why"
        raise AlmaflowError(message)

    def said(self) -> str:
        """Return what it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End Ray's processes here: its session. What measures is in a session of its own and goes on."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + ENDS_WITHIN_S
            left = self._session()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            while left and time.monotonic() < deadline:
                self.process.poll()
                time.sleep(0.1)
                left = self._session()
            if not left:
                return

    def _session(self) -> list[int]:
        found = []
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError, psutil.Error):
                if os.getsid(pid) == self.process.pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found.append(pid)
        return found


def split_address(address: str | None) -> tuple[str, int]:
    """Return host and port of a head.

    Raises:
        UsageError: it is no address.
    """
    host, colon, port = (address or "").strip().removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65_535):  # noqa: PLR2004 - ports
        message = f"{address or 'no address'}: give the head as HOST:PORT, as `almaflow fleet head` prints it"
        raise UsageError(message)
    return host, int(port)


def check_answers(address: str) -> None:
    """Make sure that something listens at the address of a head: Ray itself would wait for minutes.

    Raises:
        AlmaflowError: nothing does.
    """
    host, port = split_address(address)
    try:
        socket.create_connection((host, port), ANSWERS_WITHIN_S).close()
    except OSError as error:
        message = f"{address}: no head of a fleet answers there ({error.strerror or error}): start one"
        raise AlmaflowError(message) from error


def own_address(head: str) -> str:
    """Return the address under which the head sees this machine."""
    host, port = split_address(head)
    family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)  # sends nothing
        name: str = probe.getsockname()[0]
        return name


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
