"""What this machine is, as it tells a fleet: which hardware configs it matches, and what is installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.config.files import choices
from almaflow.config.resolve import obstacle
from almaflow.config.schema import Device, HardwareConfig
from almaflow.machine.identity import machine_id
from almaflow.records.distribution import distribution
from almaflow.records.order import FleetMachine, MachineEnvironment

if TYPE_CHECKING:
    from collections.abc import Sequence

OF_THE_MACHINE = frozenset({"cpu", "physical_cores", "memory_gb", "gpu", "smt", "governor", "boost"})
"""Entries of ``machine.environment`` that are no version of what is installed."""


def obstacles() -> dict[str, str | None]:
    """Return for each hardware config, those calibrated here included, why this machine does not match it, or None."""
    offered = choices("hardware", machine.home() / "conf")
    return {name: obstacle(_hardware(config)) for name, config in offered.items() if name != "auto"}


def kinds() -> tuple[str, ...]:
    """Return the hardware configs that this machine matches."""
    return tuple(name for name, reason in obstacles().items() if reason is None)


def describe(environments: Sequence[MachineEnvironment] = ()) -> FleetMachine:
    """Return this machine as a member of a fleet.

    Args:
        environments: What orders can run in; by default the environment of this process alone.
    """
    here = machine.describe()
    return FleetMachine(
        machine_id=machine_id(),
        kinds=kinds(),
        cores=here.physical_cores,
        memory_gb=here.memory_gb,
        processor=here.cpu,
        almaflow=distribution().version,
        environments=tuple(environments) or (environment("default"),),
        gpu=here.gpus[0].name if here.gpus else None,
    )


def environment(name: str) -> MachineEnvironment:
    """Return the environment of this process under a name."""
    versions = {key: value for key, value in machine.environment(git=False).items() if key not in OF_THE_MACHINE}
    return MachineEnvironment(name, sys.executable, versions)


def _hardware(config: dict[str, object]) -> HardwareConfig:
    """Return the part of a hardware config that says which machine it is of."""
    device = Device(str(config.get("device", Device.auto)))
    cpu, gpu = (str(value) if (value := config.get(name)) else None for name in ("cpu_match", "gpu_match"))
    return HardwareConfig(device=device, cpu_match=cpu, gpu_match=gpu)
