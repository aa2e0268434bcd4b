"""Reads the hardware's energy counters: RAPL for the processors, NVML for the GPU. Without one there is no figure.

RAPL counts what whole packages take, whatever runs on them; NVML counts what the whole board takes. Both are updated in
steps of a millisecond (RAPL) to a tenth of a second (NVML). A stretch that is not much longer than a step reads as too
much or too little, and only the sum of many such stretches is right.
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
    """A counter that only rises: the difference of two readings is the energy between them."""

    def read_j(self) -> float | None:
        """Joules so far; None where the counter does not answer this time."""
        ...


class RaplMeter:
    """Joules that all packages together have taken since this object was made.

    The counters start again from zero after minutes to hours. A reading is right if the one before it is less than one
    such turn old. If it is older, the total is too small, and the next difference is right again.

    Args:
        packages: the packages' power zones, whose files can be read.
    """

    def __init__(self, packages: Sequence[Path]) -> None:
        self._packages = packages
        self._last_uj = [_uj(zone, "energy_uj") or 0 for zone in packages]
        self._range_uj = [_uj(zone, "max_energy_range_uj") or 0 for zone in packages]
        self._total_uj = 0

    def read_j(self) -> float | None:
        now_uj = [now for zone in self._packages if (now := _uj(zone, "energy_uj")) is not None]
        if len(now_uj) < len(self._packages):
            return None
        for now, last, span in zip(now_uj, self._last_uj, self._range_uj, strict=True):
            self._total_uj += now - last + (span if now < last else 0)
        self._last_uj = now_uj
        return self._total_uj / 1e6


class GpuMeter:
    """Joules that one GPU, by its NVML handle, has taken since its driver was loaded."""

    def __init__(self, handle: object) -> None:
        self._handle = handle

    def read_j(self) -> float | None:
        millijoules = ask("nvmlDeviceGetTotalEnergyConsumption", self._handle)
        return None if millijoules is None else float(millijoules) / 1e3


def meter(device: str, powercap: Path = POWERCAP) -> EnergyMeter | None:
    """Return the energy counter of a device; None where there is none that this process may read.

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
    """Read the microjoules in a file of a zone; None where this is not allowed: on most machines only root may."""
    text = read(zone / file)
    return int(text) if text.isdecimal() else None
