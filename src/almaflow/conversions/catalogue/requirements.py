"""Check whether this machine has what a conversion needs, without importing any of it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from almaflow.records import FailureKind

_INSTALL = {
    # Both distributions install into one directory: files of the later one overwrite those of the other.
    "onnxruntime-gpu": "pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
}
_SAME_MODULE = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu")}
_FOLLOWS_TORCH = ("torch-tensorrt", "torch-xla")
"""Packages that are built against one minor version of PyTorch and have its number."""
_LAST_XLA = Version("2.9")
_LAST_XLA_SET = "pip install 'torch==2.9.*' 'torchvision==0.24.*' 'torch-xla==2.9.*'"
OLDER_SET = "pip install 'torch==2.7.*' 'torchvision==0.22.*' 'torchao==0.11.*'"
"""The older of the two sets of versions that almaflow is tested with."""


@dataclass(frozen=True)
class Obstacle:
    """The reason why a conversion cannot run here, and the command that would change that."""

    reason: str
    kind: FailureKind
    install: str | None = None


def _missing(reason: str, install: str | None) -> Obstacle:
    return Obstacle(reason, FailureKind.MISSING_DEPENDENCY, install)


def _unsupported(reason: str, install: str | None = None) -> Obstacle:
    return Obstacle(reason, FailureKind.UNSUPPORTED, install)


@cache
def installed(distribution: str) -> str | None:
    """Return the version of an installed distribution, or of another that provides the same module."""
    for name in _SAME_MODULE.get(distribution, (distribution,)):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def package(requirement: str) -> Obstacle | None:
    """Return the fault of a required package: it is missing, or its version does not fit."""
    wanted = Requirement(requirement)
    version = installed(wanted.name)
    if version is None:
        return _not_installed(wanted)
    if not wanted.specifier.contains(version, prereleases=True):
        return _missing(f"needs {wanted}, and {version} is installed", shlex.join(["pip", "install", str(wanted)]))
    torch = _minor("torch")
    if wanted.name in _FOLLOWS_TORCH and torch and _minor(wanted.name) != torch:
        return _of_this_torch(wanted.name, f"{wanted.name} {version} does not fit the installed PyTorch", torch)
    return None


def _not_installed(wanted: Requirement) -> Obstacle:
    reason, torch = f"{wanted.name} is not installed", _minor("torch")
    if wanted.name in _FOLLOWS_TORCH and torch:
        return _of_this_torch(wanted.name, reason, torch)
    return _missing(reason, _INSTALL.get(wanted.name) or shlex.join(["pip", "install", str(wanted)]))


def _of_this_torch(name: str, reason: str, torch: str) -> Obstacle:
    if name == "torch-xla" and Version(torch) > _LAST_XLA:
        return _unsupported(
            f"torch-xla ends at {_LAST_XLA} and fits no PyTorch but its own; here is {torch}", _LAST_XLA_SET
        )
    return _missing(reason, f"pip install '{name}=={torch}.*'")


def _minor(distribution: str) -> str | None:
    version = installed(distribution)
    return ".".join(map(str, Version(version).release[:2])) if version else None


def has_file(module: str, path: str) -> bool:
    """Whether an installed top-level module has a file; the module is not imported."""
    return _file(module, path) is not None


def _file(module: str, path: str) -> Path | None:
    spec = find_spec(module)
    directories = (spec.submodule_search_locations or ()) if spec else ()
    return next((file for directory in directories if (file := Path(directory, path)).exists()), None)


def cuda_build() -> Obstacle | None:
    """Return the obstacle if PyTorch is built without CUDA, as its version tells."""
    version = installed("torch") or ""
    if version.endswith("+cpu"):
        return _missing(
            f"the installed PyTorch ({version}) is built without CUDA", "pip install --force-reinstall torch"
        )
    return None


def onnxruntime_cuda(_device: str) -> Obstacle | None:
    """Return the obstacle if the installed ONNX Runtime lacks the library of its CUDA provider."""
    if not installed("onnxruntime") or has_file("onnxruntime", "capi/libonnxruntime_providers_cuda.so"):
        return None
    return _missing("the installed ONNX Runtime has no CUDA provider", _INSTALL["onnxruntime-gpu"])


def onnxruntime_on(device: str) -> Obstacle | None:
    """Return the obstacle if ONNX Runtime has no provider for the device."""
    return onnxruntime_cuda(device) if device == "cuda" else None


def torchao_autoquant(_device: str) -> Obstacle | None:
    """Return the obstacle if the installed torchao has dropped autoquant."""
    if not installed("torchao") or has_file("torchao", "quantization/autoquant.py"):
        return None
    return _unsupported(f"torchao {installed('torchao')} has no autoquant any more", OLDER_SET)


def torch_tvm(device: str) -> Obstacle | None:
    """Return the obstacle if TVM lacks what the backend imports.

    Almaflow's backend imports relax. PyTorch's, for GPUs, imports relay in older versions and relax in newer ones.
    """
    backend = _file("torch", "_dynamo/backends/tvm.py") if device == "cuda" else None
    relay = backend is not None and "import relay" in backend.read_text(encoding="utf-8")
    if has_file("tvm", "relay" if relay else "relax") or not (relay or installed("apache-tvm")):
        return None
    if relay:
        reason = f"PyTorch {installed('torch')} compiles with tvm.relay, which the TVM that can be installed has not"
        return _unsupported(reason, "pip install --upgrade torch torchvision torchao apache-tvm")
    return _missing(f"TVM {installed('apache-tvm')} has no tvm.relax", "pip install --upgrade apache-tvm")


def inductor(device: str) -> Obstacle | None:
    """Return the obstacle if inductor lacks a compiler: it generates C++ for the CPU and Triton for a GPU."""
    if device == "cuda":
        return package("triton") or _compiler("CC", ("gcc", "clang"), "a C compiler")
    obstacle = cpp_compiler(device)
    if obstacle is None and sys.platform == "linux" and not headers().exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return _missing(
            "inductor compiles against Python's headers, and Python.h is not here",
            f"apt-get install python{version}-dev",
        )
    return obstacle


def headers() -> Path:
    """Return the path of this Python's main header, whether it exists or not."""
    return Path(sysconfig.get_path("include"), "Python.h")


def cpp_compiler(_device: str) -> Obstacle | None:
    """Return the obstacle if inductor's C++ compiler is missing: the one of CXX, else g++ (clang++ on macOS)."""
    usual = "clang++" if sys.platform == "darwin" else "g++"
    return _compiler("CXX", (usual,), "a C++ compiler")


def _compiler(variable: str, usual: tuple[str, ...], what: str) -> Obstacle | None:
    command = shlex.split(os.environ.get(variable, ""))
    if any(map(shutil.which, command[:1] or usual)):
        return None
    sought = f"{variable}={command[0]}" if command else " or ".join(usual)
    return _missing(
        f"inductor needs {what}, and {sought} is not here", f"apt-get install {usual[0]}, or set {variable}"
    )
