"""The environment of a worker: thread counts for every maths library, set before any of them is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.machine import home

if TYPE_CHECKING:
    from almaflow.records import WorkerTask

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


def worker_environment(task: WorkerTask) -> dict[str, str]:
    """The parent's environment with the worker's threads, device and compile cache."""
    environment = dict(os.environ)
    environment |= dict.fromkeys(THREAD_VARIABLES, str(task.hardware.threads))
    device = task.conversion.device if task.conversion else task.hardware.device
    if device == "cpu":
        # Alma and others take a GPU that they see, whatever device they are asked for.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    cold = task.measure.compile_cache == "cold"
    cache = (Path(task.work_dir) if cold else home()) / "compile-cache"
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    environment["TRITON_CACHE_DIR"] = str(cache / "triton")
    if "PYTHONPATH" in environment:
        # The worker has a working directory of its own.
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(entry).absolute()) for entry in entries if entry)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
