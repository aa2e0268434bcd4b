"""Do once on a machine what inductor finds out about its C++ compiler, which is the same for every model.

In each process inductor compiles test programs, which show what vector instructions compiler and PyTorch can use, and
preprocesses a header that all kernels include; PyTorch keeps the precompiled header beside its default cache. A process
that is forked from one that has called ``take`` finds all that in memory. The answers are kept in a file of almaflow's
home. Nothing there belongs to a model.

A child makes the file, and proves it by a kernel: a compiler that hangs or crashes costs only what is kept. Without
the file each process does everything itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psutil

from almaflow.records import read_json, write_json
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterator

KERNEL = 'extern "C" void kernel(float* given) { given[0] = 1.0f; }'

PR_SET_PDEATHSIG = 1
"""Of linux/prctl.h: a child gets a signal when its parent ends."""

LONGEST_S, LOOK_S = 600.0, 0.02
"""Seconds that making the file may take: 15 on two cores. And seconds between two looks at it."""


@dataclass(frozen=True)
class Toolchain:
    """What is known of the compiler."""

    checks: tuple[str, ...] = ()
    """Test programs, each by its digest, that compile and load. One that did not is tried again."""
    headers: tuple[tuple[str, int, int], ...] = ()
    """Precompiled headers: path, size in bytes, time of the last change in ns since 1970."""
    proved: bool = False
    """Whether a kernel was compiled and loaded by them."""

    def whole(self) -> bool:
        """Whether the headers are there, and are what was proved."""
        try:
            return self.proved and all(_entry(Path(path)) == (path, *rest) for path, *rest in self.headers)
        except OSError:
            return False


def take(home: Path) -> None:
    """Find out about the compiler in this process, by what is kept below ``home``; make that first where it is not."""
    place = home / "toolchain"
    with suppress(Exception):  # internals of PyTorch that another version may not have, a disk that cannot be written
        place.mkdir(PRIVATE, parents=True, exist_ok=True)
        path = place / f"{_key()}.json"
        if not (known := _read(path)).whole():
            _make(path)
            known = _read(path)
        if known.whole():
            with _scratch(path):
                _ask(set(known.checks))


def _read(path: Path) -> Toolchain:
    try:
        return read_json(path, Toolchain)
    except Exception:  # noqa: BLE001 - missing, damaged, or from another version: it is made anew
        return Toolchain()


def _make(path: Path) -> None:
    """Make the file in a child; other processes that need it wait meanwhile."""
    from filelock import FileLock

    with FileLock(path.with_suffix(".lock"), timeout=LONGEST_S):
        if _read(path).whole():
            return
        _remove_left(path.parent)
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_child(path, server)
        until = time.monotonic() + LONGEST_S
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > until:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                shutil.rmtree(_scratch_directory(path, pid), ignore_errors=True)
                return
            time.sleep(LOOK_S)


def _be_child(path: Path, server: int) -> None:
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # it does not outlive the server
        if os.getppid() == server:
            with _scratch(path):
                found = _proved()
            write_json(path, found)
            code = 0
    finally:
        os._exit(code)


def _remove_left(place: Path) -> None:
    """Remove the directories of processes that were killed."""
    for left in place.glob(".[0-9]*"):
        if not psutil.pid_exists(int(left.name[1:])):
            shutil.rmtree(left, ignore_errors=True)


def _proved() -> Toolchain:
    """Ask everything anew, and compile and load a kernel by it."""
    from torch._inductor import codecache

    kernels = codecache.CppPythonBindingsCodeCache
    checks, headers = _ask(set())
    try:
        kernels.load_pybinding(["float*"], KERNEL)
    except Exception:  # noqa: BLE001 - whatever a compiler says of a header that was cut short
        for header in headers:  # PyTorch takes it for a whole one
            header.unlink(missing_ok=True)
        kernels.cache.clear()
        if headers:
            vars(codecache)["_precompile_header"].cache_clear()
        checks, headers = _ask(checks)
        kernels.load_pybinding(["float*"], KERNEL)
    return Toolchain(tuple(sorted(checks)), tuple(_entry(header) for header in headers), proved=True)


def _ask(known: set[str]) -> tuple[set[str], list[Path]]:
    """Have inductor find out about the compiler, which it keeps in memory; answers that are known are not sought.

    Returns:
        The test programs that compile and load, and the precompiled headers.
    """
    from torch._inductor import codecache, cpu_vec_isa

    isa, found, headers = cpu_vec_isa.VecISA, set(known), []
    build, precompile = isa.check_build, vars(codecache).get("_precompile_header", str)  # older ones have none

    def check(self: Any, code: str) -> bool:
        digest = _digest(code, self.build_arch_flags(), self.build_macro())
        if digest not in found and build(self, code):
            found.add(digest)
        return digest in found

    def noted(*arguments: Any, **options: Any) -> str:
        header: str = precompile(*arguments, **options)
        headers.append(Path(f"{header}.gch"))
        return header

    with patch.object(isa, "check_build", check), patch.object(codecache, "_precompile_header", noted, create=True):
        cpu_vec_isa.valid_vec_isa_list()
        codecache.CppPythonBindingsCodeCache.load_pybinding_async(["float*"], KERNEL)
    codecache.torch_key()
    return found, [header for header in headers if header.exists()]


def _key() -> str:
    """Tell compiler, PyTorch, Python and processor apart from others that may share the home."""
    import torch
    from torch._inductor.cpp_builder import get_compiler_version_info, get_cpp_compiler

    compiler = get_cpp_compiler()
    features = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        features = next(iter(re.findall(r"^(?:flags|Features)\s*:.*$", lines, re.MULTILINE)), "")
    here = (torch.__version__, torch.__file__, sys.version, sys.prefix, platform.machine(), features)
    asked = (compiler, get_compiler_version_info(compiler), os.environ.get("ATEN_CPU_CAPABILITY"))
    return _digest(*here, *asked, tempfile.gettempdir())  # PyTorch keeps the header below it


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _entry(header: Path) -> tuple[str, int, int]:
    stat = header.stat()
    return str(header), stat.st_size, stat.st_mtime_ns


def _scratch_directory(path: Path, pid: int) -> Path:
    return path.with_name(f".{pid}").absolute()


@contextmanager
def _scratch(path: Path) -> Iterator[None]:
    """Let inductor write to a directory that is removed afterwards."""
    directory = _scratch_directory(path, os.getpid())
    try:
        with patch.dict(os.environ, {"TORCHINDUCTOR_CACHE_DIR": str(directory)}):
            yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)
