"""The processors' clock and temperature, as the kernel's files tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from almaflow.machine.sensors import CpuSensors

if TYPE_CHECKING:
    from pathlib import Path


def tree(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="ascii")
    return root


def test_the_clock_is_the_mean_of_the_processors_in_use(tmp_path: Path) -> None:
    clocks = {0: 1_000_000, 1: 2_000_000, 2: 3_600_000, 3: "<unknown>"}
    tree(tmp_path, {f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq": khz for cpu, khz in clocks.items()})
    assert CpuSensors({0, 1}, tmp_path).frequency_mhz() == 1500
    assert CpuSensors({2, 3, 64}, tmp_path).frequency_mhz() == 3600
    assert CpuSensors({3}, tmp_path).frequency_mhz() is None
    assert CpuSensors({64}, tmp_path).frequency_mhz() is None


@pytest.mark.parametrize(
    ("files", "hottest"),
    [
        ({}, None),
        ({"class/hwmon/hwmon0/name": "coretemp", "class/hwmon/hwmon0/temp1_input": 61_500}, 61.5),
        (
            {
                "class/hwmon/hwmon0/name": "nvme",
                "class/hwmon/hwmon0/temp1_input": 80_000,
                "class/hwmon/hwmon3/name": "k10temp",
                "class/hwmon/hwmon3/temp1_input": 40_000,
                "class/hwmon/hwmon3/temp3_input": 55_000,
                "class/hwmon/hwmon3/temp4_input": 255_000,
                "class/hwmon/hwmon3/temp4_crit": 100_000,
            },
            55.0,
        ),
        ({"class/hwmon/hwmon0/name": "cpu_thermal", "class/hwmon/hwmon0/temp1_input": 0}, None),
        ({"class/hwmon/hwmon0/name": "coretemp", "class/hwmon/hwmon0/temp1_input": "-1"}, None),
        (
            {
                "class/thermal/thermal_zone0/type": "GPU-therm",
                "class/thermal/thermal_zone0/temp": 70_000,
                "class/thermal/thermal_zone1/type": "CPU-therm",
                "class/thermal/thermal_zone1/temp": 50_500,
            },
            50.5,
        ),
    ],
)
def test_the_temperature_is_that_of_the_processors_hottest_sensor(
    files: dict[str, object], hottest: float | None, tmp_path: Path
) -> None:
    assert CpuSensors((), tree(tmp_path, files)).temperature_c() == hottest
