"""Energy from the hardware's counters: RAPL for the processors, NVML for the GPU. Without a counter there is no figure.

RAPL counts what whole packages take, whatever runs on them; NVML what the whole board takes. Both are brought up to
date in steps, of a millisecond (RAPL) to a tenth of a second (NVML): a stretch that is not much longer than a step
reads as too much or too little, and only the sum of many such stretches is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from almaflow.machine.cpus import read
from almaflow.machine.gpus import ask, first_handle

if TYPE_CHECKING:
    from collections.abc import Sequence

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter(Protocol):
    """A counter that only rises; what is of use is the difference of two readings."""

    def read_j(self) -> float | None:
        """Joules so far; None where the counter does not answer this time."""
        ...


class RaplMeter:
    """What all packages together have taken since this object was made.

    Their counters start again from zero after minutes to hours: a reading is right if the one before was less than one
    such turn ago. An older one makes the total too small, and leaves the next difference right.
    """

    def __init__(self, packages: Sequence[Path]) -> None:
        """Start counting.

        Args:
            packages: the packages' power zones, whose files can be read.
        """
        self._packages = packages
        self._last_uj = [_uj(zone, "energy_uj") or 0 for zone in packages]
        self._turn_uj = [_uj(zone, "max_energy_range_uj") or 0 for zone in packages]
        self._total_uj = 0

    def read_j(self) -> float | None:
        """As ``EnergyMeter`` says."""
        now_uj = [now for zone in self._packages if (now := _uj(zone, "energy_uj")) is not None]
        if len(now_uj) < len(self._packages):
            return None
        for now, last, turn in zip(now_uj, self._last_uj, self._turn_uj, strict=True):
            self._total_uj += now - last + (turn if now < last else 0)
        self._last_uj = now_uj
        return self._total_uj / 1e6


class GpuMeter:
    """What one GPU has taken since its driver was loaded."""

    def __init__(self, handle: object) -> None:
        """Take NVML's handle of the GPU."""
        self._handle = handle

    def read_j(self) -> float | None:
        """As ``EnergyMeter`` says."""
        millijoules = ask("nvmlDeviceGetTotalEnergyConsumption", self._handle)
        return None if millijoules is None else float(millijoules) / 1e3


def meter(device: str, powercap: Path = POWERCAP) -> EnergyMeter | None:
    """The counter of what a conversion on this device takes; None where there is none that this process may read.

    Args:
        device: ``cuda`` is the GPU that workers use, anything else the processors.
        powercap: where the kernel shows its power zones.
    """
    if device == "cuda":
        handle = first_handle()
        gpu = GpuMeter(handle)
        return gpu if handle is not None and gpu.read_j() is not None else None
    # The other zones are parts of a package (core, uncore, dram), or the whole board (psys), which contains them.
    zones = sorted(powercap.glob("intel-rapl:*"))
    packages = [zone for zone in zones if zone.name.count(":") == 1 and read(zone / "name").startswith("package-")]
    files = [_uj(zone, file) for zone in packages for file in ("energy_uj", "max_energy_range_uj")]
    # One package of two would be half the truth.
    return RaplMeter(packages) if packages and None not in files else None


def _uj(zone: Path, file: str) -> int | None:
    """Microjoules in a file of a zone; None where it cannot be read, as for anyone but root on most machines."""
    text = read(zone / file)
    return int(text) if text.isdecimal() else None
