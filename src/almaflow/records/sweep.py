"""A multirun: its overrides, and the outcome of each of its jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Iterable


ELSEWHERE = ("tracking", "output", "resume", "fleet")
"""Settings that say who measures, where results go and how much is measured. They may hold a path, and do not make another sweep."""


def measurement_overrides(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return the overrides that say what is measured, with their secrets masked, since they are kept and shown."""
    return tuple(
        mask(each) for each in overrides if each.lstrip("+~").partition("=")[0].partition(".")[0] not in ELSEWHERE
    )


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep, as the process that ran it recorded it."""

    number: int
    """Position in the sweep, from 0 on."""
    overrides: tuple[str, ...]
    """Overrides that Hydra composed this job from."""
    started_at: float
    """Seconds since the epoch."""
    ended_at: float
    code: int
    """Exit code that ``almaflow run`` would have had."""
    error: str | None = None
    """Reason in one line why the job has no result."""
    experiment_name: str | None = None
    store: str | None = None
    """URI of its MLflow store, without credentials."""
    output: dict[str, Any] | None = None
    """Content that ``output=FILE.json`` would have."""


@dataclass(frozen=True)
class Sweep:
    """The jobs of one multirun."""

    sweep_id: str
    overrides: tuple[str, ...]
    """Overrides of the command with all their values, without those that say where results go."""
    planned: tuple[tuple[str, ...], ...] | None
    """Overrides of each job; None where the sweeper chooses them as it goes."""
    started_at: float
    """Seconds since the epoch."""
    ended_at: float | None = None
    interrupted: bool = False
    run_id: str | None = None
    tracked: bool = False
    """Whether its run is in the store, with all that is known of its jobs."""
