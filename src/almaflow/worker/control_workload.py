"""Times the control workload: a small fixed piece of work that shows how fast the machine is just now.

Five products of two 256 x 256 float32 matrices run on all the threads that the conversion may use. They have to be
parallel: on a virtual machine whose two processors are moved about by the host, resnet18 in eager PyTorch went back and
forth between 24 and 29 ms for seconds at a time; this workload showed it (0.85 and 0.92 ms, correlation 0.75), while a
product on one thread, a copy through memory and page faults did not (0.07 to 0.24).

On a GPU the matrices are 1024 x 1024: with smaller ones the launches would be what is timed.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter_ns

from almaflow.worker.device import synchronizer

SIZE, SIZE_GPU = 256, 1024
PRODUCTS = 5
REPEATS = 9


def control_workload_ms(device: str = "cpu") -> float:
    """Return the median time of ``REPEATS`` runs of the control workload, in milliseconds; about 10 ms in all.

    Args:
        device: Where it computes: on the GPU for ``cuda``, else on the CPU.
    """
    import torch

    synchronize = synchronizer(device)
    size = SIZE_GPU if device == "cuda" else SIZE
    one = torch.ones(size, size, device="cuda" if device == "cuda" else "cpu")
    out = torch.empty_like(one)
    torch.mm(one, one, out=out)  # a GPU's library starts with its first product
    times_ns = []
    for _ in range(REPEATS):
        synchronize()
        started = perf_counter_ns()
        for _ in range(PRODUCTS):
            torch.mm(one, one, out=out)
        synchronize()
        times_ns.append(perf_counter_ns() - started)
    return median(times_ns) / 1e6
