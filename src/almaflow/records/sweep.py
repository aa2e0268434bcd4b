"""A sweep, and how each of its jobs ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


ELSEWHERE = ("tracking", "output", "resume")
"""Settings that say where results go and how much is measured: they may hold a path, and make no other sweep."""


def measurement_overrides(overrides: Iterable[str]) -> tuple[str, ...]:
    """The overrides that say what is measured."""
    return tuple(each for each in overrides if each.lstrip("+~").partition("=")[0].partition(".")[0] not in ELSEWHERE)


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep, as the process that ran it recorded it."""

    number: int
    """From 0 on, in the order of the sweep."""
    overrides: tuple[str, ...]
    """What Hydra was given for this job."""
    started_at: float
    """Seconds since the epoch."""
    ended_at: float
    code: int
    """What ``almaflow run`` would have exited with."""
    error: str | None = None
    """Why the job has no result: one line."""
    experiment_name: str | None = None
    store: str | None = None
    """The MLflow store that it belongs into, without credentials."""
    output: dict[str, Any] | None = None
    """What ``output=FILE.json`` holds."""


@dataclass(frozen=True)
class Sweep:
    """Jobs that one command asked for."""

    sweep_id: str
    overrides: tuple[str, ...]
    """As they were given, with their several values, but for where results go."""
    planned: tuple[tuple[str, ...], ...] | None
    """The overrides of each job; None where the sweeper makes them up as it goes."""
    started_at: float
    """Seconds since the epoch."""
    ended_at: float | None = None
    interrupted: bool = False
    run_id: str | None = None
    tracked: bool = False
    """Its run is in the store, with all that is known of its jobs."""
