"""Reads clock and temperature of the processors from the kernel's own files.

psutil reads the same files, but also the limits and all other sensors of the machine, some of which answer only after
milliseconds.
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
"""Range of temperatures to believe: a sensor that is switched off or broken reads as something outside."""


class CpuSensors:
    """Clocks and temperature sensors of this machine, looked up once.

    Args:
        cpus: numbers of the processors whose clock is of interest.
        sys: where the kernel's file system of that name is.
    """

    def __init__(self, cpus: Iterable[int], sys: Path = SYS) -> None:
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

        A virtual machine has none: its ``/proc/cpuinfo`` shows the nominal clock, whatever the real one is.
        """
        return fmean(clocks_khz) / 1e3 if (clocks_khz := _figures(self._clocks)) else None

    def temperature_c(self) -> float | None:
        """Temperature of the hottest sensor in degrees Celsius; None without one."""
        low, high = PLAUSIBLE_C
        return max((value / 1e3 for value in _figures(self._sensors) if low < value / 1e3 < high), default=None)


def _is_cpu(driver: str) -> bool:
    return driver in CPU_SENSORS or "cpu" in driver.lower() or driver == "x86_pkg_temp"


def _figures(files: Iterable[Path]) -> list[int]:
    """Read the whole number in each file, in kHz or thousandths of a degree; files that cannot be read are left out."""
    return [int(text) for file in files if (text := read(file)).isdecimal()]
