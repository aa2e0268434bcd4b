"""Looks up the NVIDIA GPUs by NVML. Nothing here imports torch, and nothing raises where there is no driver."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU that this process may use."""

    name: str
    memory_mb: float | None
    """Device memory in 10^6 bytes; None where the driver does not say (boards that share the CPU's memory)."""


def nvidia() -> tuple[tuple[Gpu, ...], str | None, str | None]:
    """Return the GPUs that CUDA may see, the driver version and the CUDA version; nothing where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return (), None, None
    try:
        gpus = tuple(_gpu(handle) for handle in _handles())
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return gpus, pynvml.nvmlSystemGetDriverVersion(), f"{cuda // 1000}.{cuda % 1000 // 10}"
    except pynvml.NVMLError:
        return (), None, None
    finally:
        pynvml.nvmlShutdown()


def compute_capability(index: int) -> tuple[int, int] | None:
    """Return major and minor number of a GPU's CUDA architecture; None where NVML does not tell.

    Args:
        index: The GPU's place among those that CUDA may see.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(_handles()[index])
    except (pynvml.NVMLError, IndexError):
        return None
    else:
        return int(major), int(minor)
    finally:
        pynvml.nvmlShutdown()


@cache
def first_handle() -> Any | None:
    """Return NVML's handle of the GPU that workers use, the first that CUDA may see; None where there is none.

    NVML stays initialised from then on, so that ``ask`` can be called at any time and cheaply.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        return next(iter(_handles()), None)
    except pynvml.NVMLError:
        return None


def ask(function: str, *arguments: object) -> Any | None:
    """Call a function of NVML; None where this driver or GPU has no answer.

    Args:
        function: its name in ``pynvml``, which need not exist in the installed version.
        arguments: its arguments, among them the handle of ``first_handle``.
    """
    import pynvml

    with suppress(pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):
        call = getattr(pynvml, function, None)
        return call(*arguments) if call else None
    return None


def visible(devices: Sequence[tuple[str, T]]) -> tuple[T, ...]:
    """Select the GPUs that ``CUDA_VISIBLE_DEVICES`` lists, in its order, up to the first wrong entry, as CUDA does.

    Args:
        devices: UUID of each GPU and anything that stands for it, in NVML's order.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None or "MIG-" in listed:  # the name of a MIG slice does not say which GPU it is of
        return tuple(gpu for _, gpu in devices)
    gpus = []
    for entry in (part.strip() for part in listed.split(",")):
        if entry.isdigit() and int(entry) < len(devices):
            gpus.append(devices[int(entry)][1])
        elif entry.startswith("GPU-") and (match := [gpu for uuid, gpu in devices if uuid.startswith(entry)]):
            gpus.append(match[0])
        else:
            break
    return tuple(gpus)


def _handles() -> tuple[Any, ...]:
    import pynvml

    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    return visible([(pynvml.nvmlDeviceGetUUID(handle), handle) for handle in handles])


def _gpu(handle: Any) -> Gpu:
    import pynvml

    memory = ask("nvmlDeviceGetMemoryInfo", handle)
    return Gpu(pynvml.nvmlDeviceGetName(handle), None if memory is None else round(memory.total / 1e6))
