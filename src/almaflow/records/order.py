"""Records of a fleet: what is sent to a machine, what the machine is, and what it tells while it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from almaflow.records.prediction import PastMeasurement
from almaflow.records.specs import ModelSpec

ORDER_SCHEMA = 1
"""The form of an order and of what machines tell. A machine whose almaflow has another one refuses the order."""


@dataclass(frozen=True)
class Blob:
    """A file that an order needs, by its contents: the weights of a model, or its inputs."""

    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Order:
    """One job for one machine of a fleet, as plain values: no live objects, no secrets, no store."""

    order_id: str
    """ID of the order, and of the job that comes of it, whichever machine runs it."""
    user: str
    kind: str | None
    """Name of the hardware config that the machine has to match; None: any machine."""
    configuration: dict[str, Any]
    """The composed configuration of the job, without tracking."""
    number: int = 0
    """Position in its sweep, from 0 on."""
    sweep_id: str | None = None
    profile_id: str | None = None
    machine_id: str | None = None
    """ID of the only machine that may run it; None: any of its kind."""
    environment: str | None = None
    """Name of the environment to run in, or a requirement such as ``torch>=2.14``; None: the machine's first."""
    model: ModelSpec | None = None
    """The model, where it was handed over from Python; None: that of the configuration."""
    blobs: dict[str, Blob] = field(default_factory=dict)
    """Files by the field of the model's record that names them: ``weights``, ``pickle_path``, ``batches_path``."""
    past: tuple[PastMeasurement, ...] = ()
    """Earlier measurements that predictors may learn from."""
    expected_s: float | None = None
    """Seconds that it may take, from the store; None where nothing allows an estimate."""
    time_limit_s: float | None = None
    """Seconds after which the machine ends it; None: no limit but those of its conversions."""
    epoch: int = 1
    """Number of the grant that it runs under. Each grant of the same order has a higher one."""
    schema: int = ORDER_SCHEMA


@dataclass(frozen=True)
class MachineEnvironment:
    """A Python environment of a machine, in which orders run."""

    name: str
    python: str
    """Path of its interpreter, which only the machine itself reads."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of what is installed, by distribution; ``python`` is one of them."""


@dataclass(frozen=True)
class FleetMachine:
    """A machine as it tells the fleet what it is. It has a random ID and no host name."""

    machine_id: str
    kinds: tuple[str, ...]
    """Names of the hardware configs that it proved to match."""
    cores: int
    memory_gb: float
    processor: str
    almaflow: str
    """Version of almaflow on it."""
    environments: tuple[MachineEnvironment, ...] = ()
    gpu: str | None = None
    schema: int = ORDER_SCHEMA


class OrderState(StrEnum):
    """State of an order, as an event tells it."""

    queued = "queued"
    started = "started"
    running = "running"
    """It goes on: a phase, a note or a conversion that ended."""
    done = "done"
    """Its result lies on the machine and can be fetched."""
    lost = "lost"
    """Its machine is gone, and it will be granted again."""
    failed = "failed"
    """It has no result, and will not be tried again; ``line`` says why."""
    cancelled = "cancelled"
    superseded = "superseded"
    """A second result of an order that has one: it stays on its machine."""


INTERRUPTED = 130
"""Exit code of an order that was interrupted; of one that is done: only a part of it was measured."""

FINAL = frozenset({OrderState.done, OrderState.failed, OrderState.cancelled, OrderState.superseded})


@dataclass(frozen=True)
class OrderEvent:
    """What became known of an order."""

    order_id: str
    state: OrderState
    at: float
    """Seconds since the epoch, by the clock of whoever tells."""
    epoch: int = 0
    """Number of the grant that it is about; 0: none yet."""
    machine_id: str | None = None
    place: int | None = None
    """Orders before it that wait, plus one."""
    held_by: str | None = None
    """User who has the machine that it waits for."""
    about_s: float | None = None
    """Seconds until it may begin, while it is queued."""
    conversion: str | None = None
    """The conversion that ``line`` is about."""
    line: str = ""
    """What to show of it."""
    finished: dict[str, Any] | None = None
    """Status and figures of ``conversion``, which has ended."""
    code: int | None = None
    """Exit code of an order that failed: 2 where its input is wrong."""
