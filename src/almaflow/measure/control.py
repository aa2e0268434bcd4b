"""The control workload: a small fixed piece of work that says how fast the machine is just now.

Five products of two 256 x 256 float32 matrices on all the threads that the conversion may use. It has to be parallel:
on a virtual machine whose two processors are moved about by the host, resnet18 in eager PyTorch went back and forth
between 24 and 29 ms for seconds at a time; this workload showed it (0.85 and 0.92 ms, correlation 0.75), while a
product on one thread, a copy through memory and page faults did not (0.07 to 0.24).
"""

from __future__ import annotations

from statistics import median
from time import perf_counter_ns

SIZE = 256
PRODUCTS = 5
REPEATS = 9


def control_ms() -> float:
    """The median time of ``REPEATS`` runs of the control workload, in milliseconds; about 10 ms in all."""
    import torch

    one = torch.ones(SIZE, SIZE)
    out = torch.empty_like(one)
    times_ns = []
    for _ in range(REPEATS):
        started = perf_counter_ns()
        for _ in range(PRODUCTS):
            torch.mm(one, one, out=out)
        times_ns.append(perf_counter_ns() - started)
    return median(times_ns) / 1e6
