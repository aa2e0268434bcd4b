"""What this machine is, without importing torch.

Nothing here names the host or its user. Of the environment only almaflow's home and the GPUs that CUDA may see count.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import platformdirs
import psutil

_CPUINFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_TOPOLOGY = Path("/sys/devices/system/cpu")
_GIT_TIMEOUT_S = 5.0
_DISTRIBUTIONS = {
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "alma": ("alma-torch",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "torchao": ("torchao",),
    "almaflow": ("almaflow",),
    "mlflow": ("mlflow", "mlflow-skinny"),
}


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU that this process may use."""

    name: str
    memory_mb: float | None
    """Device memory in 10^6 bytes; None where the driver does not say (boards that share the CPU's memory)."""


@dataclass(frozen=True)
class Machine:
    """This machine as this process may use it."""

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


def home() -> Path:
    """Where almaflow keeps its store, jobs and caches: ``ALMAFLOW_HOME``, else the user's data directory."""
    given = os.environ.get("ALMAFLOW_HOME")
    return (Path(given).expanduser() if given else platformdirs.user_data_path("almaflow")).absolute()


@cache
def describe() -> Machine:
    """Look once; a process does not change machines."""
    logical = psutil.cpu_count(logical=True) or 1
    gpus, driver, cuda = _nvidia()
    return Machine(
        cpu=_cpu_name(),
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        threads=_usable_cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        gpus=gpus,
        driver=driver,
        cuda=cuda,
        os=platform.platform(),
        python=platform.python_version(),
    )


def has_cuda() -> bool:
    """Whether there is an NVIDIA GPU that this process may use. It says nothing about the installed PyTorch."""
    return bool(describe().gpus)


def environment(*, git: bool = True) -> dict[str, str]:
    """Values of the ``env.*`` tags, without the prefix. What is not here has no key.

    Args:
        git: with the commit of the working directory, ``-dirty`` where tracked files were changed.
    """
    here = describe()
    found: dict[str, str | None] = {
        "cpu": here.cpu,
        "physical_cores": str(here.physical_cores),
        "memory_gb": f"{here.memory_gb:g}",
        "gpu": here.gpus[0].name if here.gpus else None,
        "driver": here.driver,
        "cuda": here.cuda,
        "os": here.os,
        "python": here.python,
        **{tag: _version(*names) for tag, names in _DISTRIBUTIONS.items()},
        "git_commit": _git_commit() if git else None,
    }
    return {tag: value for tag, value in found.items() if value}


def _version(*distributions: str) -> str | None:
    for name in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def _git_commit() -> str | None:
    # `describe` with every tag excluded is the short hash, and says in the same call whether the tree was changed.
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_GIT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _cpu_name() -> str:
    """Brand of the CPU, and the board where it has a name (a Jetson's CPU alone does not say which Jetson)."""
    name = _field(_read(_CPUINFO), "model name") or _slow_cpu_name()
    board = _read(_BOARD).strip("\0 \n")
    return f"{name} ({board})" if board else name


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _field(text: str, key: str) -> str:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _slow_cpu_name() -> str:
    """What py-cpuinfo finds in more than a second, kept on disk for the next command on the same kind of machine."""
    first_core = _read(_CPUINFO).partition("\n\n")[0]
    stable = [line for line in first_core.splitlines() if line.startswith("CPU ")]
    key = hashlib.sha256(repr((platform.machine(), platform.release(), os.cpu_count(), stable)).encode()).hexdigest()
    kept = home() / f"cpu-{key[:16]}.json"
    with suppress(OSError, ValueError):
        return str(json.loads(kept.read_text(encoding="utf-8"))["cpu"])
    import cpuinfo

    try:
        name = str(cpuinfo.get_cpu_info().get("brand_raw") or "")
    except Exception:  # noqa: BLE001 - a driver that misbehaves must not end a command
        name = ""
    name = name or platform.processor() or platform.machine()
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"cpu": name}), encoding="utf-8")
    return name


def _usable_cores() -> int:
    """Physical cores under the CPUs that this process may run on, no more than its container's quota."""
    try:
        cpus = sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    cores = set()
    for cpu in cpus:
        topology = _TOPOLOGY / f"cpu{cpu}" / "topology"
        core = _read(topology / "core_id").strip()
        cores.add((_read(topology / "physical_package_id").strip(), core) if core else cpu)
    quota = _quota()
    return max(1, min(len(cores), int(quota) if quota else len(cores)))


def _quota(table: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs that the control groups of this process allow, the tightest of them; None without a limit."""
    limits = []
    for line in _read(table).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = root / (controllers and "cpu")
        parts = Path(path.lstrip("/")).parts
        for depth in range(len(parts) + 1):
            group = place.joinpath(*parts[:depth])
            if controllers:
                figures = [_read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()]
            else:
                figures = _read(group / "cpu.max").split()
            if len(figures) == 2 and all(figure.isdigit() for figure in figures):  # noqa: PLR2004 - a quota and a period
                limits.append(int(figures[0]) / int(figures[1]))
    return min(limits, default=None)


def _nvidia() -> tuple[tuple[Gpu, ...], str | None, str | None]:
    """GPUs, driver version and CUDA version as NVML tells; nothing where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return (), None, None
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = None
            with suppress(pynvml.NVMLError):
                memory = round(pynvml.nvmlDeviceGetMemoryInfo(handle).total / 1e6)
            found.append((pynvml.nvmlDeviceGetUUID(handle), Gpu(pynvml.nvmlDeviceGetName(handle), memory)))
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return _visible(found), pynvml.nvmlSystemGetDriverVersion(), f"{cuda // 1000}.{cuda % 1000 // 10}"
    except pynvml.NVMLError:
        return (), None, None
    finally:
        pynvml.nvmlShutdown()


def _visible(found: list[tuple[str, Gpu]]) -> tuple[Gpu, ...]:
    """Those of the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, in its order; CUDA ignores all behind a wrong entry."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None or "MIG-" in allowed:  # a slice of a GPU: which one, the name does not say
        return tuple(gpu for _, gpu in found)
    visible = []
    for entry in (part.strip() for part in allowed.split(",")):
        if entry.isdigit() and int(entry) < len(found):
            visible.append(found[int(entry)][1])
        elif entry.startswith("GPU-") and (match := [gpu for uuid, gpu in found if uuid.startswith(entry)]):
            visible.append(match[0])
        else:
            break
    return tuple(visible)
