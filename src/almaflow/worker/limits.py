"""Measure how fast PyTorch is on this machine: rates of arithmetic, bandwidth by working set, overhead of a call.

Each limit is the best of repeated calls: what the machine can do undisturbed. The module runs as a process of its own,
so that threads are set before PyTorch starts. The question has ``threads`` and ``device``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from almaflow.records.child_entry import answer_once
from almaflow.worker.device import synchronizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLOATING = ("float32", "bfloat16", "float16")
TIME_S = 0.2
"""Seconds that one call is repeated."""
TOO_SLOW_S = 1.0
"""Seconds; a type whose product takes longer is emulated, and larger products would take minutes."""
CALLS = 5000


@dataclass(frozen=True)
class Sizes:
    """The sizes that are measured on one kind of device."""

    products: tuple[int, ...]
    """Rows of the square matrices that are multiplied."""
    images: int
    """Images in the batch of a convolution."""
    working_sets_mb: tuple[float, ...]
    """Sizes in MB (10^6 bytes) of three arrays together, of which two are read and one is written."""
    together: int
    """Calls per synchronisation: a GPU receives the next call while it computes."""


SIZES = {
    "cpu": Sizes((256, 512, 1024, 2048), 1, (0.1, 0.5, 2.0, 8.0, 32.0, 128.0, 512.0), 1),
    # On smaller sets a GPU computes for less time than the launch of the call takes.
    "cuda": Sizes((1024, 2048, 4096, 8192), 64, (24.0, 32.0, 64.0, 256.0, 2048.0), 20),
}
CONVOLUTIONS = ((64, 56, 3), (128, 28, 3), (256, 14, 3), (256, 28, 1), (1024, 14, 1))
"""Channels, side of the image and side of the window, as in residual networks."""


def measure_limits(threads: int, device: str) -> dict[str, Any]:
    """Return rates in 10^9 operations and bytes per second and overhead in microseconds, as in ``hardware.limits``.

    Args:
        threads: Number of threads that PyTorch may use.
        device: ``cpu`` or ``cuda``.
    """
    import torch

    torch.set_num_threads(threads)
    sizes = SIZES[device]
    with torch.inference_mode(), torch.device(device):
        best_s = partial(_best_s, synchronize=synchronizer(device), together=sizes.together)
        products = {dtype: dict(_rates(_products(sizes, dtype), best_s)) for dtype in (*FLOATING, "int8")}
        convolutions = {dtype: dict(_rates(_convolutions(sizes, dtype), best_s)) for dtype in FLOATING}
        return {
            "gflops": _peaks(products),
            "conv_gflops": _peaks(convolutions),
            "achieved": {
                dtype: rates for dtype in products if (rates := products[dtype] | convolutions.get(dtype, {}))
            },
            "bandwidth": _levels({size: _bandwidth(size, best_s) for size in sizes.working_sets_mb}),
            "overhead_us": _overhead_us(synchronizer(device)),
        }


def _best_s(call: Callable[[], object], synchronize: Callable[[], None], together: int) -> float:
    """Return the seconds of the quickest of the calls that fit into ``TIME_S``, at least three."""
    call()
    synchronize()
    times: list[float] = []
    began = perf_counter()
    while len(times) < 3 or perf_counter() - began < TIME_S:  # noqa: PLR2004 - the quickest of one or two is no floor
        started = perf_counter()
        for _ in range(together):
            call()
        synchronize()
        times.append((perf_counter() - started) / together)
        if times[-1] > TOO_SLOW_S:
            break
    return min(times)


Work = tuple[str, float, "Callable[[], object]"]
"""The name of a computation, its number of operations, and a call that does it."""


def _products(sizes: Sizes, dtype: str) -> Iterator[Work]:
    import torch

    for size in sizes.products:
        matrix = _random(dtype, size, size)
        call = partial(torch._int_mm if dtype == "int8" else torch.mm, matrix, matrix)  # noqa: SLF001 - the only int8 one
        yield f"product of {size}", 2.0 * size**3, call


def _convolutions(sizes: Sizes, dtype: str) -> Iterator[Work]:
    """Yield convolutions of channels-last images, the quicker order of both oneDNN and cuDNN."""
    import torch

    for channels, side, window in CONVOLUTIONS:
        shapes = (sizes.images, channels, side, side), (channels, channels, window, window)
        images, weights = (_random(dtype, *shape).to(memory_format=torch.channels_last) for shape in shapes)
        call = partial(torch.conv2d, images, weights, padding=window // 2)
        name = f"{window}x{window} convolution of {channels} channels"
        yield name, 2.0 * sizes.images * (channels * side * window) ** 2, call


def _random(dtype: str, *shape: int) -> Any:
    """Return random values, as in models: a GPU multiplies zeros or ones with less power, and faster."""
    import torch

    if dtype == "int8":
        return torch.randint(-128, 128, shape, dtype=torch.int8)
    return torch.randn(shape).to(getattr(torch, dtype))


def _rates(works: Iterator[Work], best_s: Callable[[Callable[[], object]], float]) -> Iterator[tuple[str, float]]:
    """Yield names and rates, from the smallest computation up, until one is missing or too slow."""
    for name, flops, call in works:
        try:
            seconds = best_s(call)
        except RuntimeError:  # PyTorch lacks the operation for this type and device
            return
        yield name, float(f"{flops / seconds / 1e9:.4g}")
        if seconds > TOO_SLOW_S / 8:  # the next one may have eight times the work
            return


def _peaks(rates: dict[str, dict[str, float]]) -> dict[str, float]:
    return {dtype: max(of_type.values()) for dtype, of_type in rates.items() if of_type}


def _bandwidth(size_mb: float, best_s: Callable[[Callable[[], object]], float]) -> float:
    import torch

    elements = max(int(size_mb * 1e6 / 12), 16)
    left, right = torch.ones(elements), torch.ones(elements)
    out = torch.empty_like(left)
    return 12 * elements / best_s(partial(torch.add, left, right, out=out)) / 1e9


def _levels(bandwidths: dict[float, float]) -> list[dict[str, Any]]:
    """Return the memory levels, from the smallest working set up; sets within 10% of a level belong to it.

    No level is faster than the one before it. The first measured set is so small that a call's overhead is a part of
    its time, so that it gets the rate of the next if that is higher.
    """
    sizes = sorted(bandwidths)
    rates = dict(bandwidths)
    rates[sizes[0]] = max(rates[sizes[0]], rates[sizes[1]])
    levels: list[dict[str, Any]] = []
    for size in sizes:
        rate = min(rates[size], levels[-1]["gb_s"]) if levels else rates[size]
        if levels and rate > 0.9 * levels[-1]["gb_s"]:
            levels[-1] |= {"name": f"up to {size:g} MB", "mb": size}
        else:
            levels.append({"name": f"up to {size:g} MB", "mb": size, "gb_s": float(f"{rate:.4g}")})
    return [*levels[:-1], {"name": "memory", "gb_s": levels[-1]["gb_s"]}]


def _overhead_us(synchronize: Callable[[], None]) -> float:
    """Return the microseconds of an operation on one element, in the quickest of several series."""
    import torch

    element, times_s = torch.ones(1), []
    for _ in range(5):
        synchronize()
        started = perf_counter()
        for _ in range(CALLS // 5):
            torch.relu_(element)
        synchronize()
        times_s.append((perf_counter() - started) / (CALLS // 5))
    return round(min(times_s) * 1e6, 2)


if __name__ == "__main__":
    answer_once(lambda question: measure_limits(**question))
