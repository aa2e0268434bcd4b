"""How fast a machine can be, and the device that is measured."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Level:
    """What memory of one level gives to a working set that fits into it."""

    name: str
    gb_s: float
    """10^9 bytes per second, of all cores or of the device."""
    mb: float | None = None
    """Its size in 10^6 bytes; None: main memory."""


@dataclass(frozen=True)
class Limits:
    """How fast a machine can be."""

    gflops: dict[str, float] = field(default_factory=dict)
    """10^9 operations per second by element type, dense; a multiplication with its addition is two."""
    conv_gflops: dict[str, float] = field(default_factory=dict)
    """The same of convolutions, where these have another limit: TF32 in cuDNN, or another library."""
    achieved: dict[str, dict[str, float]] = field(default_factory=dict)
    """Rates by element type and by what was computed, where they were measured: for people, no predictor reads them."""
    bandwidth: tuple[Level, ...] = ()
    """From the smallest level to main memory."""
    overhead_us: float | None = None
    """What an operation takes however little it does, in microseconds."""
    power_w: float | None = None
    """What the device draws under load, for energy: its thermal design power, in watts."""


@dataclass(frozen=True)
class HardwareSpec:
    """The device to measure on, as it is on this machine."""

    name: str
    device: str
    """``cpu`` or ``cuda``."""
    threads: int
    description: str = ""
    cpus: tuple[int, ...] | None = None
    """The processors that workers are bound to; None: those that this process may use."""
    price_per_hour: float | None = None
    """USD for an hour of the machine."""
    price_source: str = ""
    limits: Limits | None = None
    """How fast it can be, where that is known."""
