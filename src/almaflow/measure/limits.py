"""How fast this machine's CPU is in PyTorch: rates of matrix products, bandwidth by working set, overhead of a call.

The best of repeated calls each, since limits are what the machine can do when it is let alone. The module runs as a
process of its own, so that threads are set before PyTorch starts: ``python -m almaflow.measure.limits THREADS``.
"""

from __future__ import annotations

import json
import sys
from statistics import median
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (256, 512, 1024, 2048)
"""Rows of the square matrices that are multiplied."""
WORKING_SETS_MB = (0.1, 0.5, 2.0, 8.0, 32.0, 128.0, 512.0)
"""Of three arrays, of which two are read and one is written; 10^6 bytes."""
TIME_S = 0.4
"""Of repeating one call."""
TOO_SLOW_S = 1.0
"""A type whose product takes longer is emulated: larger ones would take minutes."""
CALLS = 5000


def measure_limits(threads: int) -> dict[str, Any]:
    """Rates in 10^9 operations and bytes per second, overhead in microseconds, as ``hardware.limits`` has them.

    Args:
        threads: That PyTorch may use.
    """
    import torch

    torch.set_num_threads(threads)
    with torch.inference_mode():
        return {
            "gflops": {name: rate for name in ("float32", "bfloat16", "float16", "int8") if (rate := _rate(name))},
            "bandwidth": _levels({size: _bandwidth(size) for size in WORKING_SETS_MB}),
            "overhead_us": _overhead_us(),
        }


def _best_s(call: Callable[[], object]) -> float:
    """The quickest of the calls that fit into ``TIME_S``, at least three."""
    call()
    times: list[float] = []
    began = perf_counter()
    while len(times) < 3 or perf_counter() - began < TIME_S:  # noqa: PLR2004 - the quickest of one or two is no floor
        started = perf_counter()
        call()
        times.append(perf_counter() - started)
        if times[-1] > TOO_SLOW_S:
            break
    return min(times)


def _rate(dtype: str) -> float | None:
    """The best over the sizes; None where PyTorch multiplies no matrices of the type on this CPU."""
    import torch

    best: float | None = None
    for size in SIZES:
        made = torch.ones(size, size, dtype=getattr(torch, dtype))
        try:
            seconds = _best_s(lambda made=made: torch._int_mm(made, made) if dtype == "int8" else made @ made)  # type: ignore[misc]  # noqa: SLF001 - the only product of int8
        except RuntimeError:
            return best
        best = max(best or 0.0, round(2 * size**3 / seconds / 1e9, 1))
        if seconds > TOO_SLOW_S / 8:  # the next one has eight times the work
            break
    return best


def _bandwidth(size_mb: float) -> float:
    import torch

    elements = max(int(size_mb * 1e6 / 12), 16)
    one, other = torch.ones(elements), torch.ones(elements)
    out = torch.empty_like(one)
    return 12 * elements / _best_s(lambda: torch.add(one, other, out=out)) / 1e9


def _levels(found: dict[float, float]) -> list[dict[str, Any]]:
    """From the smallest working set on, each no faster than the one before it; those within 10% of it are one level.

    The first measured set is so small that a call's overhead is a part of its time: it gets the rate of the next.
    """
    sizes = sorted(found)
    rates = {size: found[size] for size in sizes}
    rates[sizes[0]] = max(rates[sizes[0]], rates[sizes[1]])
    levels: list[dict[str, Any]] = []
    for size in sizes:
        rate = min(rates[size], levels[-1]["gb_s"]) if levels else rates[size]
        if levels and rate > 0.9 * levels[-1]["gb_s"]:
            levels[-1] |= {"name": f"up to {size:g} MB", "mb": size}
        else:
            levels.append({"name": f"up to {size:g} MB", "mb": size, "gb_s": round(rate, 1)})
    return [*levels[:-1], {"name": "memory", "gb_s": levels[-1]["gb_s"]}]


def _overhead_us() -> float:
    """The median time of an operation on one element."""
    import torch

    one, times_ns = torch.ones(1), []
    for _ in range(CALLS):
        started = perf_counter_ns()
        torch.relu_(one)
        times_ns.append(perf_counter_ns() - started)
    return round(median(times_ns) / 1000, 2)


if __name__ == "__main__":
    print(json.dumps(measure_limits(int(sys.argv[1]))))  # noqa: T201 - that is how a child speaks
