"""What a worker reads of the device that it runs on."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from almaflow.worker import device
resident = device.resident_mb()
device.reset_peak()
held = bytearray(200_000_000)
held[::4096] = b"x" * len(held[::4096])
print(resident, device.peak_mb(), device.resident_mb(), device.device_peak_mb("cpu"))
"""


def test_memory_is_read_in_megabytes() -> None:
    """In a process of its own: in one that freed memory before, what is allocated may have been resident already."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    resident, peak, later, on_device = done.stdout.split()
    assert 5 < float(resident) < 150
    assert 150 < float(later) - float(resident) < 250
    assert on_device == "None"
    if peak == "None":
        pytest.skip("/proc/self/status does not tell the peak here")
    assert 150 < float(peak) - float(resident) < 250
