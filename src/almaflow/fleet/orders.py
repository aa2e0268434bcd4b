"""The coordinator's own record of its orders: what it sent, where it is, and whether its result is recorded.

::

    fleet/orders/ORDER_ID.json      written before the order is sent

The job that comes of an order has its ID. So ``jobs/ORDER_ID`` is there at most once, whichever machine measured it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from almaflow import machine
from almaflow.errors import RecordError
from almaflow.records import read_json, write_json
from almaflow.records.order import Order
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    weights: str | None
    """File that became a blob."""
    directory: str
    """Where the command was started."""
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


def key_of(order: Order, store: str, experiment_name: str) -> str:
    """Return the digest of what an order asks for."""
    asked = {
        "configuration": order.configuration,
        "kind": order.kind,
        "machine": order.machine_id,
        "environment": order.environment,
        "blobs": {name: blob.sha256 for name, blob in order.blobs.items()},
        "store": store,
        "experiment": experiment_name,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def place() -> Path:
    """Return the directory of the coordinator's orders."""
    return machine.home() / "fleet" / "orders"


def write(kept: KeptOrder) -> None:
    """Write what is known of an order."""
    place().mkdir(PRIVATE, parents=True, exist_ok=True)
    write_json(place() / f"{kept.order.order_id}.json", kept)


def read(order_id: str) -> KeptOrder:
    """Read what is known of an order.

    Raises:
        FileNotFoundError: it is none of this home.
        RecordError: its file is damaged.
    """
    return read_json(place() / f"{order_id}.json", KeptOrder)


def orders() -> Iterator[KeptOrder]:
    """Yield the orders of this home, the newest first; one that cannot be read is left out with a warning."""
    for path in sorted(place().glob("*.json"), reverse=True):
        try:
            yield read_json(path, KeptOrder)
        except FileNotFoundError:
            continue
        except RecordError as error:
            logging.getLogger("almaflow").warning("%s; it is left out", error)


def outstanding() -> list[KeptOrder]:
    """Return the orders that have no recorded result and have not failed, the oldest first."""
    return [each for each in orders() if each.state is Kept.open][::-1]


def newest(key: str) -> KeptOrder | None:
    """Return the newest order that asks for the same; None where there is none."""
    return next((each for each in orders() if each.key == key), None)
