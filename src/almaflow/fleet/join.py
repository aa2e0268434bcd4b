"""A machine in a fleet: it proves what it is, and stays in the fleet until it is stopped.

Ray ends its processes on a machine that it took for dead, as after a pulled cable. So they are started again here,
again and again. What measures is in a session of its own, and the next agent finds it in the spool.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import AlmaflowError, RecordError, UsageError
from almaflow.fleet import this_machine
from almaflow.fleet.engines.ray_calls import load_ray
from almaflow.fleet.engines.ray_node import RayNode, check_answers, machine_command, own_address, ray_environment
from almaflow.fleet.environment import measuring_environment
from almaflow.fleet.head import place
from almaflow.fleet.service import HEAD, JOIN, READY, directory
from almaflow.machine.identity import machine_id
from almaflow.records import write_json
from almaflow.records.agent import AgentSettings
from almaflow.records.json_files import from_line
from almaflow.records.order import FleetMachine, MachineEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

AGAIN_S = 5.0
"""Seconds before the next try to come into a fleet that was left."""
GENERIC = ("cpu", "cuda")
"""Hardware configs that describe any machine that has one."""
_DESCRIBE = """
import sys
from almaflow.fleet.this_machine import environment
from almaflow.records.json_files import to_line
print(to_line(environment(sys.argv[1])))
"""


def prove(kinds: Sequence[str], pythons: Mapping[str, Path]) -> FleetMachine:
    """Return what this machine is.

    Args:
        kinds: Hardware configs that it is to be offered as; all that match where none are given.
        pythons: Interpreters of the environments that orders can run in, by name; this one where none are given.

    Raises:
        UsageError: it is not what it claims, or an environment has no almaflow.
    """
    obstacles = this_machine.obstacles()
    for kind in kinds:
        if kind not in obstacles:
            message = f"--kind {kind}: there is no hardware config of this name; `almaflow hardware` lists them"
            raise UsageError(message)
        if reason := obstacles[kind]:
            message = f"--kind {kind}: {reason}; `almaflow hardware` shows which configs match here"
            raise UsageError(message)
    found = this_machine.describe([_environment(name, path) for name, path in pythons.items()])
    if not kinds:
        return found
    return replace(found, kinds=tuple(dict.fromkeys([*kinds, *(each for each in GENERIC if each in found.kinds)])))


def _environment(name: str, python: Path) -> MachineEnvironment:
    try:
        done = subprocess.run(
            [str(python), "-P", "-c", _DESCRIBE, name],
            env=measuring_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return from_line(done.stdout.strip().splitlines()[-1], MachineEnvironment)
    except (OSError, IndexError, RecordError) as error:
        message = f"--environment {name}={python}: almaflow of this version does not run there; install it"
        raise UsageError(message) from error


@contextmanager
def taken_token(source: Path | None) -> Iterator[Path]:
    """Keep the fleet's token where its owner alone reads it; where the block fails, the one that was there comes back.

    Raises:
        UsageError: there is none.
    """
    kept = directory() / "token"
    before = _token(kept) if kept.is_file() else None
    if source is not None:
        try:
            text = _token(source)
        except (OSError, UnicodeDecodeError) as error:
            message = f"--token-file {source}: cannot be read; copy the file that `almaflow fleet head` names"
            raise UsageError(message) from error
        if text != before and HEAD.running():
            message = f"--token-file {source}: this machine is a head with another token; leave the option out"
            raise UsageError(message)
        _keep(text, kept)
    if not kept.is_file():
        message = "no token is here: copy the file that `almaflow fleet head` names, and give it by --token-file"
        raise UsageError(message)
    kept.chmod(0o600)  # it may have been copied here
    try:
        yield kept
    except AlmaflowError:
        if before is not None:
            _keep(before, kept)
        raise


def _token(place: Path) -> str:
    return place.read_text(encoding="ascii").strip()


def _keep(text: str, place: Path) -> None:
    part = place.with_name(f".token.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as stream:
        stream.write(text)
    part.replace(place)


def stay(address: str, found: FleetMachine, token: Path, say: Callable[[str], None]) -> None:
    """Be in the fleet until this process is interrupted.

    Raises:
        UsageError: this home is in a fleet already.
        AlmaflowError: the machine cannot come in; later on it tries again and again.
    """
    load_ray()
    environment = ray_environment(token)
    is_in = False
    with JOIN.held(address):
        while True:
            try:
                _come_in(address, found, environment, say)
                is_in = True
                say("Ray ended here: the head or the network is gone; joining again")
            except AlmaflowError as error:
                if not is_in:
                    raise
                say(f"{error}; trying again")
            time.sleep(AGAIN_S)


def _come_in(address: str, found: FleetMachine, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Start Ray and the agent here, and wait until they end."""
    check_answers(address)
    host = own_address(address)
    instance = hashlib.sha256(f"{found.machine_id} {host}".encode()).hexdigest()[:16]
    settings = AgentSettings(found, instance, measuring_environment())
    write_json(directory() / "agent.json", settings)
    node = RayNode.start(machine_command(address, host, instance), dict(environment), directory() / "join-ray.log")
    try:
        place("agent", address, environment)
        say(f"{READY}machine {machine_id()} is in the fleet of {address} as {', '.join(found.kinds)}")
        node.process.wait()
    finally:
        node.stop()


def unit(arguments: Sequence[str]) -> str:
    """Return a systemd unit that keeps this machine in the fleet."""
    command = shlex.join([sys.executable, "-P", "-m", "almaflow", "fleet", "join", *arguments, "--foreground"])
    return f"""[Unit]
Description=almaflow: this machine in a fleet
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={command}
Environment=ALMAFLOW_HOME={machine.home()}
Restart=always
RestartSec=10
# What measures goes on where this ends, and the next one finds it.
KillMode=process

[Install]
WantedBy=default.target
"""
