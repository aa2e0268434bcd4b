"""The environment of a child: threads of every maths library, set before it is loaded, and where modules are."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.machine import home
from almaflow.secrets import PRIVATE

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


def module_search_path() -> tuple[str, ...]:
    """Directories in which this process finds modules; not the working directory, which a child has by itself."""
    return tuple(path for path in sys.path if path)


def server_environment(hardware: HardwareSpec, *, cuda: bool = False) -> dict[str, str]:
    """Variables that all workers of a job, on the CPU or for ``cuda``, have set beside the parent's environment."""
    environment = dict.fromkeys(THREAD_VARIABLES, str(hardware.threads))
    if not cuda:
        # Alma and others take a GPU that they see, whatever device they are asked for.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if search := os.environ.get("PYTHONPATH"):
        # The worker has a working directory of its own.
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(entry).absolute()) for entry in search.split(os.pathsep) if entry
        )
    environment["PYTHONUNBUFFERED"] = "1"
    # From 1.31 on ONNX Runtime's is a thread, a database and network calls: none belongs beside a measurement.
    environment["ORT_DISABLE_TELEMETRY"] = "1"
    # Inductor's pool compiles Triton kernels, which are for GPUs. It is a process that imports PyTorch once more.
    environment["TORCH_WARM_POOL"] = "0"
    return environment


def worker_environment(task: WorkerTask) -> dict[str, str]:
    """Variables that one worker has set beside the parent's environment: threads, device and compile cache."""
    device = task.conversion.device if task.conversion else task.hardware.device
    environment = server_environment(task.hardware, cuda=device != "cpu")
    if device != "cpu":
        environment["TORCH_WARM_POOL"] = os.environ.get("TORCH_WARM_POOL", "1")
    cold = task.measure.compile_cache == "cold"
    cache = Path(task.cache_dir or task.work_dir) / "compile-cache" if cold else home() / "compile-cache"
    if not cold:
        cache.mkdir(PRIVATE, parents=True, exist_ok=True)  # what lies there is loaded and run
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    environment["TRITON_CACHE_DIR"] = str(cache / "triton")
    return environment
