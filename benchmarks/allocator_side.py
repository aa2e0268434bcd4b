"""Calls a model eagerly in a process of its own, whose allocator is in one state. For allocator.py."""

from __future__ import annotations

import ctypes
import json
import resource
import sys
from time import perf_counter

import torch
import torchvision

from almaflow.worker.allocator import LARGEST_ADAPTING, keep_memory

STARTED, FREED, KEPT = "as it starts", "32 MiB freed", "all kept"
STATES = (STARTED, FREED, KEPT)
UNTIMED, SECONDS, FEWEST = 3, 2.0, 8
"""Calls before the clock, seconds of those that count, and the fewest of them."""


def prepare(state: str) -> None:
    """Bring the allocator into the state."""
    if state == KEPT:
        keep_memory()
    elif state == FREED:
        libc = ctypes.CDLL(None)
        libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
        libc.free.argtypes = [ctypes.c_void_p]
        libc.free(libc.malloc(LARGEST_ADAPTING))


def main(name: str, batch: int, state: str) -> dict[str, float]:
    """Return page faults a call, and the fastest call in milliseconds."""
    prepare(state)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    images = torch.rand(batch, 3, 224, 224)
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(UNTIMED):
            model(images)
        before, until = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, perf_counter() + SECONDS
        while len(times) < FEWEST or perf_counter() < until:
            began = perf_counter()
            model(images)
            times.append(perf_counter() - began)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {"faults": faults / len(times), "floor_ms": 1000 * min(times)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], int(sys.argv[2]), sys.argv[3])) + "\n")
