"""Waits for the device under measurement, and reads its name, times and memory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def synchronizer(device: str) -> Callable[[], None]:
    """Return a function that waits until the device has done all its work; on a CPU it does nothing."""
    if device != "cuda":
        return lambda: None
    import torch

    return torch.cuda.synchronize


def device_times_ms(call: Callable[[int], object], count: int, prepare: Callable[[int], None]) -> list[float]:
    """Time single calls by CUDA events: the time on the current stream, without the launch before it."""
    import torch

    times_ms = []
    for index in range(count):
        prepare(index)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        call(index)
        end.record()
        torch.cuda.synchronize()
        times_ms.append(float(start.elapsed_time(end)))
    return times_ms


def device_name(device: str) -> str:
    """Return the device's name as its driver or the operating system has it."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    from almaflow.machine import describe

    return describe().cpu


def resident_mb() -> float:
    """Return the resident memory of this process now, in MB (10^6 bytes)."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e6


def reset_peak() -> None:
    """Let the peak of memory start anew, so that it belongs to the conversion and not to loading."""
    with contextlib.suppress(OSError):  # where the system refuses, the peak includes loading
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float | None:
    """Return the peak resident memory since ``reset_peak``, in MB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024 / 1e6
    return None


def device_peak_mb(device: str) -> float | None:
    """Return the peak memory that torch's allocator took on the device, in MB; None on a CPU."""
    if device != "cuda":
        return None
    import torch

    return float(torch.cuda.max_memory_allocated()) / 1e6
