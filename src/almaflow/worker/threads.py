"""Sets the thread count of torch, and reads back those of every library that reports them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from almaflow.records import WorkerTask


def threads_per_stream(task: WorkerTask) -> int:
    """Divide the job's threads between the streams that call at once."""
    return max(1, task.hardware.threads // task.measure.streams)


def set_threads(count: int) -> None:
    """Set the number of threads of torch; the environment has done so for the maths libraries."""
    import torch

    torch.set_num_threads(count)


def set_compile_jobs(count: int | None) -> None:
    """Set how many C++ compilers inductor runs at once, unless the user's environment does.

    Inductor reads the variable when it is imported, which may have happened in the server.
    """
    if count is None or "TORCHINDUCTOR_COMPILE_THREADS" in os.environ:
        return
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = str(count)
    if "torch._inductor.config" in sys.modules:
        from torch._inductor import config

        config.compile_threads = count


def read_threads() -> dict[str, int]:
    """Read the threads that each library reports now: torch, and the BLAS and OpenMP pools that are loaded."""
    import torch
    from threadpoolctl import threadpool_info

    threads = {"torch": torch.get_num_threads(), "torch_interop": torch.get_num_interop_threads()}
    for pool in threadpool_info():
        threads[str(pool["internal_api"])] = int(pool["num_threads"])
    return threads
