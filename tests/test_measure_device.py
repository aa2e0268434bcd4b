"""What a worker reads of the device that it runs on."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


def test_memory_is_read_in_megabytes() -> None:
    import psutil

    from almaflow.measure import device

    resident = device.resident_mb()
    assert resident == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.05)
    device.reset_peak()
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    peak = device.peak_mb()
    if peak is None:
        pytest.skip("/proc/self/status does not tell the peak here")
    assert peak >= resident + 150
    assert device.device_peak_mb("cpu") is None
