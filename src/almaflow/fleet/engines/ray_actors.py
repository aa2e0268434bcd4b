"""The processes of a fleet that Ray keeps: the broker on the head, and an agent on each machine.

``python -m almaflow.fleet.engines.ray_actors broker|agent ADDRESS`` puts one where it is run, and ends. Both are
started again by Ray where they are killed: they keep nothing that others do not have.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from almaflow.errors import AlmaflowError
from almaflow.fleet.agent import Agent
from almaflow.fleet.broker_service import BrokerService
from almaflow.fleet.engines.ray_calls import BROKER, CALL_S, NAMESPACE, agent_name, ask, load_ray, why
from almaflow.fleet.engines.ray_node import HEAD_RESOURCE, SHARE, machine_resource
from almaflow.fleet.environment import measuring_environment
from almaflow.fleet.spool import Spool
from almaflow.records import read_json
from almaflow.records.agent import AgentSettings

STARTS_WITHIN_S = 90.0
"""Seconds that a process has to begin; Ray starts Python and imports us, on a machine that may be busy."""
NAME_IS_FREE_WITHIN_S = 30.0


class RayBroker(BrokerService):
    """The broker, as a process of Ray's."""

    def __init__(self, root: str, lost_s: float, quota: int | None) -> None:
        """Begin without machines and orders."""
        super().__init__(Path(root), quota=quota, send=_send, lost_s=lost_s)
        threading.Thread(target=self.settle_forever, daemon=True).start()

    def is_ready(self) -> str:
        """Return why it is of no use yet: nothing."""
        return ""


def _send(agent: Any, order: str) -> None:
    agent.take.remote(order)


class RayAgent(Agent):
    """The agent of the machine that it runs on, as a process of Ray's."""

    def __init__(self, directory: str) -> None:
        """Look at the spool, and go on from there."""
        settings = read_json(Path(directory) / "agent.json", AgentSettings)
        _replace_environment(settings.environment)
        self._broker: Any = None
        ray = load_ray()
        me = ray.get_runtime_context().current_actor
        super().__init__(Spool(Path(directory) / "spool"), settings.machine, settings.instance, self._ask_broker, me)
        threading.Thread(target=self.run_forever, daemon=True).start()

    def is_ready(self) -> str:
        """Return why it is not in the fleet; nothing where it is."""
        return self.trouble

    def _ask_broker(self, name: str, *arguments: Any) -> Any:
        ray = load_ray()
        try:
            if self._broker is None:
                self._broker = ray.get_actor(BROKER, namespace=NAMESPACE)
            return ask(self._broker, name, *arguments)
        except ValueError as error:
            message = "the head has no broker: start `almaflow fleet head` again"
            raise AlmaflowError(message) from error
        except AlmaflowError as error:
            if "no answer" in str(error):
                self._broker = None  # it may be another one by now
            raise


def _replace_environment(environment: dict[str, str]) -> None:
    """Give this process, and what it starts, the variables of measuring processes from before Ray changed them."""
    for name in measuring_environment():
        del os.environ[name]
    os.environ.update(environment)


def place(role: str, address: str, directory: Path, *limits: Any) -> str:
    """Start the broker or the agent on the node that this process is on; return why it is of no use, or nothing."""
    ray = load_ray()
    kind: Any = {"broker": RayBroker, "agent": RayAgent}[role]
    ray.init(address, namespace=NAMESPACE, log_to_driver=False)
    if role == "broker":
        name, arguments, here = BROKER, (str(directory / "blobs"), *limits), HEAD_RESOURCE
    else:
        settings = read_json(directory / "agent.json", AgentSettings)
        name, arguments = agent_name(settings.machine.machine_id), (str(directory),)
        here = machine_resource(settings.instance)
    options = {
        "name": name,
        "lifetime": "detached",
        "num_cpus": 0,
        # Not the node that Ray calls this one: the head's machine has two where it has joined, with one address.
        "resources": {here: SHARE},
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": 16,
    }
    return _readiness(_created(ray, ray.remote(kind).options(**options), name, arguments))


def _created(ray: Any, kind: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    """Start a process under a name that an earlier one may still have for a while."""
    deadline = time.monotonic() + NAME_IS_FREE_WITHIN_S
    while True:
        _end_earlier(ray, name)
        try:
            return kind.remote(*arguments)
        except ValueError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _end_earlier(ray: Any, name: str) -> None:
    """End the process of this name, if there is one: it may be on a node that is gone."""
    try:
        ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
    except ValueError:
        return


def _readiness(actor: Any) -> str:
    """Wait until a process is of use; return why it is not in the end."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    line = "it did not start in time"
    while time.monotonic() < deadline:
        try:
            line = str(ask(actor, "is_ready", timeout_s=CALL_S))
        except AlmaflowError as error:
            line = str(error)
        if not line or "another machine of the ID" in line:
            return line
        time.sleep(0.2)
    return line


def main(role: str, address: str, directory: str, lost_s: str = "", quota: str = "") -> int:
    """Start the broker or the agent here, and say on stdout why it is of no use."""
    limits = (float(lost_s), int(quota) if quota else None) if lost_s else ()
    try:
        line = place(role, address, Path(directory), *limits)
    except Exception as error:  # noqa: BLE001 - whatever Ray raises, in one line for the one who started this
        line = why(error)
    print(line)  # noqa: T201 - what the caller reads
    return 1 if line else 0


if __name__ == "__main__":
    # Imported by its name, so that Ray's processes find the classes there and not in a script.
    sys.exit(import_module("almaflow.fleet.engines.ray_actors").main(*sys.argv[1:]))
