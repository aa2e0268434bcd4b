"""Thread counts: set for torch, and read back from every library that says what it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from almaflow.records import WorkerTask


def threads_per_stream(task: WorkerTask) -> int:
    """What PyTorch may use inside one call: the job's threads, divided between the streams that call at once."""
    return max(1, task.hardware.threads // task.measure.streams)


def set_threads(count: int) -> None:
    """Make torch's own pools as wide as asked; the environment has done the same for the maths libraries."""
    import torch

    torch.set_num_threads(count)


def read_threads() -> dict[str, int]:
    """Threads as each library reports them now: torch, and the BLAS and OpenMP pools that are loaded."""
    import torch
    from threadpoolctl import threadpool_info

    threads = {"torch": torch.get_num_threads(), "torch_interop": torch.get_num_interop_threads()}
    for pool in threadpool_info():
        threads[str(pool["internal_api"])] = int(pool["num_threads"])
    return threads
