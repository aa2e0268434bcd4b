"""The environment of a worker: thread counts for every maths library, set before any of them is loaded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.machine import home

if TYPE_CHECKING:
    from almaflow.records import HardwareSpec, WorkerTask

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


def server_environment(hardware: HardwareSpec) -> dict[str, str]:
    """What all workers of a job have set beside the parent's environment."""
    environment = dict.fromkeys(THREAD_VARIABLES, str(hardware.threads))
    if hardware.device == "cpu":
        # Alma and others take a GPU that they see, whatever device they are asked for.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    else:
        # PyTorch then looks for GPUs without starting CUDA, after which the server could not fork.
        environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    if search := os.environ.get("PYTHONPATH"):
        # The worker has a working directory of its own.
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(entry).absolute()) for entry in search.split(os.pathsep) if entry
        )
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def worker_environment(task: WorkerTask) -> dict[str, str]:
    """What one worker has set beside the parent's environment: threads, device and compile cache."""
    environment = server_environment(replace(task.hardware, device=device_of(task)))
    cold = task.measure.compile_cache == "cold"
    cache = Path(task.cache_dir or task.work_dir) / "compile-cache" if cold else home() / "compile-cache"
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    environment["TRITON_CACHE_DIR"] = str(cache / "triton")
    return environment


def device_of(task: WorkerTask) -> str:
    """Where a worker computes: the preparing one where the job does."""
    return task.conversion.device if task.conversion else task.hardware.device
