"""Keep CUDA unstarted in a process that forks workers, and tell whether something has started it all the same.

A process that was forked from one with CUDA cannot use it. Packages start it where they are imported: optimum-quanto
asks whether there is a GPU, and which architecture it has.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from unittest.mock import patch

from almaflow.machine import gpus

if TYPE_CHECKING:
    from collections.abc import Iterator

BY_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""With this variable PyTorch asks NVML, which starts nothing, whether there is a GPU."""

DRIVER = "libcuda.so.1"

NOT_INITIALIZED = 3
"""The driver's error ``CUDA_ERROR_NOT_INITIALIZED``."""


@contextmanager
def asked_by_nvml() -> Iterator[None]:
    """Let NVML answer what packages ask PyTorch about the GPU meanwhile, if PyTorch has been imported before."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    own = torch.cuda.get_device_capability

    def capability(device: object = None) -> tuple[int, int]:
        index = 0 if device is None else device
        known = gpus.compute_capability(index) if isinstance(index, int) else None
        return known or own(device)

    with patch.dict(os.environ, {BY_NVML: "1"}), patch.object(torch.cuda, "get_device_capability", capability):
        yield


def started() -> bool:
    """Whether this process has started CUDA. The driver is asked, whoever has loaded it; that starts nothing."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return True
    with suppress(OSError, AttributeError):
        driver = ctypes.CDLL(DRIVER, os.RTLD_NOLOAD | os.RTLD_LAZY)
        return bool(driver.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) != NOT_INITIALIZED)
    return False


def unusable() -> bool:
    """Whether PyTorch refuses CUDA in this process, since the one that it was forked from had asked CUDA."""
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda._is_in_bad_fork())  # noqa: SLF001 - PyTorch has no public name for it
