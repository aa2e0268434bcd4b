"""What a machine's agent is told when it begins."""

from __future__ import annotations

from dataclasses import dataclass

from almaflow.records.order import FleetMachine


@dataclass(frozen=True)
class AgentSettings:
    """What ``almaflow fleet join`` hands to the agent, in a file of almaflow's home."""

    machine: FleetMachine
    instance: str
    """A name that the machine keeps while it is on, and that a copy of it does not have."""
    environment: dict[str, str]
    """Variables of measuring processes. An agent of Ray's has other ones: Ray hides GPUs and sets threads."""
