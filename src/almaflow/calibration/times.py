"""The times of the calibration networks on one machine, kept on disk so that learning again needs no measuring."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import RecordError, UsageError
from almaflow.records import Workload, from_dict, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from almaflow.calibration.timing import Timed


@dataclass(frozen=True)
class NetworkTimes:
    """The times of the calibration networks on one machine."""

    workloads: dict[str, Workload]
    """Operations by network."""
    floors_ms: dict[str, dict[str, float]]
    """Floors in ms by conversion and network."""
    control_ms: dict[str, float]
    """Time of the control workload meanwhile, by conversion: how fast the machine was."""
    day: str
    """The day of the timing, as YYYY-MM-DD."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""


def network_times(timed: Timed, device: str = "cpu") -> NetworkTimes:
    """Return the floor and the operations of each network, from what was timed today."""
    return NetworkTimes(
        workloads={name: from_dict(Workload, each) for name, each in timed.workloads.items()},
        floors_ms={
            conversion: {name: _floor(visits) for name, visits in networks.items()}
            for conversion, networks in timed.visits.items()
        },
        control_ms={
            conversion: median(control for visits in networks.values() for _, control in visits)
            for conversion, networks in timed.visits.items()
        },
        day=time.strftime("%Y-%m-%d"),
        device=device,
    )


def _floor(visits: Sequence[tuple[list[float], float]]) -> float:
    """Return the lower quartile of the visits' shortest calls: a job's floor is taken over several moments too."""
    return quantiles([min(samples) for samples, _ in visits], n=4, method="inclusive")[0]


def times_path(name: str) -> Path:
    """Return the file that keeps the times, by the name of the hardware config."""
    return machine.home() / "calibrations" / f"{name}.json"


def save_times(name: str, times: NetworkTimes) -> None:
    """Write the times of the machine with this hardware config."""
    times_path(name).parent.mkdir(parents=True, exist_ok=True)
    write_json(times_path(name), times)


def load_times(name: str) -> NetworkTimes:
    """Read the times that ``save_times`` wrote.

    Raises:
        UsageError: there are none, or they cannot be read.
    """
    try:
        return read_json(times_path(name), NetworkTimes)
    except (FileNotFoundError, RecordError) as error:
        why = "nothing to learn from" if isinstance(error, FileNotFoundError) else str(error)
        message = f"{why}; run `almaflow calibrate --name {name}` first, without --quick"
        raise UsageError(message) from error
