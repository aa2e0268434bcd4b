"""The head of a fleet: Ray's head with a token, and the broker."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.engines.ray_calls import load_ray
from almaflow.fleet.engines.ray_node import RayNode, head_command, is_loopback, ray_environment
from almaflow.fleet.service import HEAD, READY, directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PLACED_WITHIN_S = 240.0
_ACTORS = "almaflow.fleet.engines.ray_actors"


def make_token() -> Path:
    """Return the file with the fleet's token, which is made at its first use and which its owner alone reads."""
    place = directory() / "token"
    if place.exists():
        place.chmod(0o600)  # it may have been copied here
    else:
        number = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32))
    return place


def check_token_is_asked() -> None:
    """Make sure that nobody can come in without the token. Ray listens on all addresses, whichever it is given.

    Raises:
        UsageError: the user has turned tokens off.
    """
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        message = "RAY_AUTH_MODE: a head needs the token, since whoever comes in can run code; unset RAY_AUTH_MODE"
        raise UsageError(message)


def place(role: str, address: str, environment: Mapping[str, str], *arguments: str) -> None:
    """Start the broker or the agent in Ray's processes here.

    Raises:
        AlmaflowError: it does not serve, and the line says why.
    """
    load_ray()  # says how to install it
    command = [sys.executable, "-P", "-m", _ACTORS, role, address, str(directory()), *arguments]
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PLACED_WITHIN_S,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{address}: the {role} did not start within {PLACED_WITHIN_S:.0f} s"
        raise AlmaflowError(message) from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines() or [f"the {role} did not start"]
        raise AlmaflowError((done.stdout.strip().splitlines() or said)[-1])


def run_head(host: str, port: int, quota: int | None, lost_s: float, say: Callable[[str], None]) -> None:
    """Be the head until this process is interrupted.

    Raises:
        UsageError: the user has turned tokens off, or a head runs here already.
        AlmaflowError: Ray or the broker did not start.
    """
    check_token_is_asked()
    load_ray()
    address = f"{host}:{port}"
    with HEAD.held(address):
        token = make_token()
        environment = ray_environment(token)
        node = RayNode.start(head_command(host, port), environment, directory() / "head-ray.log")
        try:
            place("broker", address, environment, str(lost_s), "" if quota is None else str(quota))
            for line in welcome(address, token):
                say(line)
            node.process.wait()
        finally:
            node.stop()
    message = f"Ray ended; {directory() / 'head-ray.log'} says why"
    raise AlmaflowError(message)


def welcome(address: str, token: Path) -> list[str]:
    """Return what to do next: first the line that says that the head serves."""
    host = address.rpartition(":")[0]
    lines = [f"{READY}the head of the fleet serves at {address}"]
    if is_loopback(host):
        lines.append(
            "Ray listens on all addresses of this machine. Machines elsewhere need: almaflow fleet head --host ADDRESS"
        )
    else:
        lines.append("Nothing is encrypted on its way, the token included: use a private network, or Ray's TLS")
    lines.append(f"Who has the token can run code on all machines. Copy it to each: {token}")
    lines.append(f"On each machine: almaflow fleet join {address} --kind NAME --token-file FILE")
    return lines
