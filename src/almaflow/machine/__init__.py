"""Describes this machine, without importing torch.

Nothing here names the host or its user. Environment variables decide only almaflow's home and the GPUs that CUDA may
see.
"""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import psutil

from almaflow.machine import cpus, gpus
from almaflow.machine.gpus import Gpu
from almaflow.records.distribution import FORMER, NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Gpu", "Machine", "describe", "environment", "has_cuda", "home"]

_GIT_TIMEOUT_S = 5.0
_DISTRIBUTIONS = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "alma": ("alma-torch",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "torchao": ("torchao",),
    "quanto": ("optimum-quanto",),
    "nncf": ("nncf",),
    "executorch": ("executorch",),
    "tvm": ("apache-tvm",),
    "tensorrt": ("torch-tensorrt",),
    "almaflow": (NAME, FORMER),
    "mlflow": ("mlflow", "mlflow-skinny"),
}


@dataclass(frozen=True)
class Machine:
    """The hardware and system of this machine, as far as this process may use them."""

    cpu: str
    physical_cores: int
    logical_cores: int
    threads: int
    """Physical cores that CPU affinity and the container's quota leave to this process."""
    memory_gb: float
    """Main memory in 10^9 bytes."""
    gpus: tuple[Gpu, ...]
    driver: str | None
    """Version of the NVIDIA driver."""
    cuda: str | None
    """Newest CUDA version that the driver supports."""
    os: str
    python: str

    def processor(self, device: str) -> str:
        """Return the name of the CPU, or for ``cuda`` of the first GPU."""
        return self.gpus[0].name if device == "cuda" else self.cpu


def home() -> Path:
    """Return the directory of the store, jobs and caches: ``ALMAFLOW_HOME``, else the user's data directory."""
    configured = os.environ.get("ALMAFLOW_HOME")
    return (Path(configured).expanduser() if configured else platformdirs.user_data_path("almaflow")).absolute()


@cache
def describe() -> Machine:
    """Look the machine up once, since a process never changes it; ``cpus.settings`` reads what can change."""
    logical = psutil.cpu_count(logical=True) or 1
    devices, driver, cuda = gpus.nvidia()
    return Machine(
        cpu=cpus.name(home()),
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        threads=cpus.usable_cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        gpus=devices,
        driver=driver,
        cuda=cuda,
        os=platform.platform(),
        python=platform.python_version(),
    )


def has_cuda() -> bool:
    """Whether there is an NVIDIA GPU that this process may use. It says nothing about the installed PyTorch."""
    return bool(describe().gpus)


def environment(runtimes: Iterable[str] = (), *, git: bool = True) -> dict[str, str]:
    """Collect the values of the ``env.*`` tags, by name without the prefix. What is unknown has no key.

    Args:
        runtimes: Further distributions whose versions are wanted, under their own names.
        git: Whether to add the commit of the working directory, ``-dirty`` where tracked files were changed.
    """
    here = describe()
    values: dict[str, str | None] = {
        **{name: _version(name) for name in runtimes},
        "cpu": here.cpu,
        "physical_cores": str(here.physical_cores),
        **cpus.settings(),
        "memory_gb": f"{here.memory_gb:g}",
        "gpu": here.gpus[0].name if here.gpus else None,
        "driver": here.driver,
        "cuda": here.cuda,
        "os": here.os,
        "python": here.python,
        **{tag: _version(*names) for tag, names in _DISTRIBUTIONS.items()},
        "git_commit": _git_commit() if git else None,
    }
    return {tag: value for tag, value in values.items() if value}


def _version(*distributions: str) -> str | None:
    for name in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def _git_commit() -> str | None:
    # `describe` with every tag excluded is the short hash, and says in the same call whether the tree was changed.
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
