"""The limits of a machine's speed, and the device that is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

SHOWN_OF_ID = 6
"""Digits of a machine's ID that tell a few dozen machines apart."""


def machine_name(hardware: str, machine_id: str | None) -> str:
    """Name one of several machines of a kind: ``r6i_large 3f2a91``."""
    return f"{hardware} {machine_id[:SHOWN_OF_ID]}" if machine_id else hardware


@dataclass(frozen=True)
class Level:
    """A level of memory, with its bandwidth for a working set that fits into it."""

    name: str
    gb_s: float
    """Bandwidth in 10^9 bytes per second, of all cores or of the device."""
    mb: float | None = None
    """Size in 10^6 bytes; None: main memory."""


@dataclass(frozen=True)
class Limits:
    """The limits of a machine's speed."""

    gflops: dict[str, float] = field(default_factory=dict)
    """Dense 10^9 operations per second by element type; a multiplication with its addition is two."""
    conv_gflops: dict[str, float] = field(default_factory=dict)
    """Limits of convolutions where these differ, because of TF32 in cuDNN or another library."""
    achieved: dict[str, dict[str, float]] = field(default_factory=dict)
    """Measured rates by element type and by what was computed, for people: no predictor reads them."""
    bandwidth: tuple[Level, ...] = ()
    """Levels of memory, from the smallest to main memory."""
    overhead_us: float | None = None
    """Time in microseconds that an operation takes however little it does."""
    power_w: float | None = None
    """Thermal design power in watts, taken as the device's power under load."""


@dataclass(frozen=True)
class HardwareSpec:
    """The device to measure on, as it is on this machine."""

    name: str
    device: str
    """``cpu`` or ``cuda``."""
    threads: int
    description: str = ""
    cpus: tuple[int, ...] | None = None
    """Processors that workers are bound to; None: those that this process may use."""
    price_per_hour: float | None = None
    """Price in USD for an hour of the machine."""
    price_source: str = ""
    limits: Limits | None = None
    """Limits of its speed, where they are known."""
