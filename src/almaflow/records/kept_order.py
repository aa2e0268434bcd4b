"""An order as its coordinator keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from almaflow.records.order import Order
from almaflow.records.specs import ModelSpec


class Kept(StrEnum):
    """How far the coordinator got with an order."""

    open = "open"
    """It was sent, or is about to be, and has no result yet."""
    recorded = "recorded"
    """Its job is in almaflow's home, and in the store or on its way there by ``almaflow sync``."""
    failed = "failed"
    cancelled = "cancelled"


@dataclass(frozen=True)
class KeptOrder:
    """An order, with what the coordinator knows of it and the machine does not need."""

    order: Order
    key: str
    """Digest of what is asked for: the same again by ``resume=true`` is the same order."""
    engine: str
    address: str | None
    store: str
    """URI of the store that its job goes to, without credentials."""
    experiment_name: str
    config: dict[str, Any]
    """The configuration as the job keeps it."""
    model: ModelSpec
    """The model as the job keeps it: its files are those of this machine."""
    made_at: float
    """Seconds since the epoch."""
    state: Kept = Kept.open
    epoch: int = 0
    """Last grant that was heard of; 0: none."""
    machine_id: str | None = None
    code: int | None = None
    line: str = ""
    """Why it failed."""
    superseded: tuple[str, ...] = ()
    """Machines with a second result, which was not recorded."""
