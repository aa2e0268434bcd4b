"""Reads about the processors: their name, which of them this process may use, and how they are set.

Everything but the name is read anew on each call, since affinity and settings change while a process runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

CPUINFO = Path("/proc/cpuinfo")
BOARD = Path("/proc/device-tree/model")
SYSTEM = Path("/sys/devices/system/cpu")


def read(path: Path) -> str:
    """Read one of the kernel's files, without the blanks around it; empty where it cannot be read."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def name(keep_in: Path) -> str:
    """Return the CPU's brand, and the board's name where there is one: a Jetson's CPU does not say which Jetson.

    Args:
        keep_in: directory that caches a name which takes long to find.
    """
    brand = field(read(CPUINFO), "model name") or _slow_name(keep_in)
    board = read(BOARD).strip("\0 \n")
    return f"{brand} ({board})" if board else brand


def field(text: str, key: str) -> str:
    """Return the value of the first line ``key : value``; empty without one."""
    for line in text.splitlines():
        label, _, value = line.partition(":")
        if label.strip() == key:
            return value.strip()
    return ""


def _slow_name(keep_in: Path) -> str:
    """Ask py-cpuinfo, which takes over a second, and cache its answer on disk for machines of the same kind."""
    first_core = read(CPUINFO).partition("\n\n")[0]
    stable = [line for line in first_core.splitlines() if line.startswith("CPU ")]
    key = hashlib.sha256(repr((platform.machine(), platform.release(), os.cpu_count(), stable)).encode()).hexdigest()
    cache = keep_in / f"cpu-{key[:16]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads(cache.read_text(encoding="utf-8"))["cpu"])
    import cpuinfo

    try:
        brand = str(cpuinfo.get_cpu_info().get("brand_raw") or "")
    except Exception:  # noqa: BLE001 - a driver that misbehaves must not end a command
        brand = ""
    brand = brand or platform.processor() or platform.machine()
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"cpu": brand}), encoding="utf-8")
    return brand


def allowed() -> frozenset[int] | None:
    """Return the processors that this process may run on; None where the system does not bind processes."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return None


def exists(cpu: int) -> bool:
    """Whether this machine has a processor of this number, be it in use or not."""
    return (SYSTEM / f"cpu{cpu}").is_dir()


def usable_cores(cpus: Iterable[int] | None = None) -> int:
    """Count the physical cores under these processors, at least 1 and at most the quota of our container.

    Args:
        cpus: numbers of processors; None: those that this process may run on.
    """
    cpus = allowed() if cpus is None else cpus
    if cpus is None:
        return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    cores: set[object] = set()
    for cpu in cpus:
        topology = SYSTEM / f"cpu{cpu}" / "topology"
        core = read(topology / "core_id")
        cores.add((read(topology / "physical_package_id"), core) if core else cpu)
    limit = quota()
    return max(1, min(len(cores), int(limit) if limit else len(cores)))


def quota(table: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many CPUs the tightest control group of this process allows; None without a limit."""
    limits = []
    for line in read(table).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        hierarchy = root / (controllers and "cpu")
        parts = Path(path.lstrip("/")).parts
        for depth in range(len(parts) + 1):
            group = hierarchy.joinpath(*parts[:depth])
            if controllers:
                figures = [read(group / "cpu.cfs_quota_us"), read(group / "cpu.cfs_period_us")]
            else:
                figures = read(group / "cpu.max").split()
            if len(figures) == 2 and all(figure.isdigit() for figure in figures):  # noqa: PLR2004 - a quota and a period
                limits.append(int(figures[0]) / int(figures[1]))
    return min(limits, default=None)


def settings() -> dict[str, str]:
    """Return how the processors are set. What the system does not say has no key.

    - ``governor``: what chooses their clock, in one word, or several with commas where they differ.
    - ``smt``: ``on`` where a core runs two threads or more, else ``off``.
    - ``boost``: ``on`` where they may exceed their nominal clock, else ``off``.
    """
    governors = {read(file) for file in SYSTEM.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""}
    switches = {"0": "off", "1": "on"}
    inverted = {"0": "on", "1": "off"}  # no_turbo says the opposite
    values = {
        "governor": ",".join(sorted(governors)),
        "smt": switches.get(read(SYSTEM / "smt" / "active")),
        "boost": inverted.get(read(SYSTEM / "intel_pstate" / "no_turbo"))
        or switches.get(read(SYSTEM / "cpufreq" / "boost")),
    }
    return {key: value for key, value in values.items() if value}


def int8_overflows() -> bool:
    """Whether this CPU adds the products of 8-bit numbers in 16 bits, which overflow: x86 without VNNI.

    Weights then have to leave a bit unused ("reduce_range" of ONNX Runtime and PyTorch).
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    flags = set(field(read(CPUINFO), "flags").split())
    if not flags:
        return False  # without a list of flags nothing says that it overflows
    return flags.isdisjoint({"avx512_vnni", "avx_vnni"})
