"""Clock and temperature of the processors, read from the kernel's own files.

psutil reads the same files, and with them the limits and the sensors of everything else that is built in, some of which
take milliseconds to answer.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from almaflow.machine.cpus import read

if TYPE_CHECKING:
    from collections.abc import Iterable

SYS = Path("/sys")

CPU_SENSORS = frozenset({"coretemp", "k10temp", "k8temp", "zenpower"})
"""Drivers of the sensors inside AMD's and Intel's processors; those of others have ``cpu`` in their name."""

PLAUSIBLE_C = (0.0, 150.0)
"""A sensor that is switched off or broken reads as something outside."""


class CpuSensors:
    """What there is to be read on this machine, looked up once."""

    def __init__(self, cpus: Iterable[int], sys: Path = SYS) -> None:
        """Look for the files.

        Args:
            cpus: numbers of the processors whose clock is of interest.
            sys: where the kernel's file system of that name is.
        """
        clocks = (sys / f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in sorted(cpus))
        self._clocks = [file for file in clocks if file.exists()]
        chips = [chip for chip in sys.glob("class/hwmon/hwmon*") if _is_cpu(read(chip / "name"))]
        zones = [zone for zone in sys.glob("class/thermal/thermal_zone*") if _is_cpu(read(zone / "type"))]
        # Most drivers of zones show them as chips too.
        self._sensors = [file for chip in chips for file in chip.glob("temp*_input")] or [
            zone / "temp" for zone in zones
        ]

    def frequency_mhz(self) -> float | None:
        """Mean clock in MHz; None without a driver that knows it.

        A virtual machine has none: what ``/proc/cpuinfo`` says there is the nominal clock, whatever the real one is.
        """
        return fmean(known) / 1e3 if (known := _figures(self._clocks)) else None

    def temperature_c(self) -> float | None:
        """The hottest sensor in degrees Celsius; None without one."""
        low, high = PLAUSIBLE_C
        return max((value / 1e3 for value in _figures(self._sensors) if low < value / 1e3 < high), default=None)


def _is_cpu(driver: str) -> bool:
    return driver in CPU_SENSORS or "cpu" in driver.lower() or driver == "x86_pkg_temp"


def _figures(files: Iterable[Path]) -> list[int]:
    """The whole numbers in these files, in kHz or thousandths of a degree; one that cannot be read is left out."""
    return [int(text) for file in files if (text := read(file)).isdecimal()]
