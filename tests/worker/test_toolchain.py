"""What inductor finds out about the C++ compiler is kept between jobs, and found out anew where that is in doubt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.worker import toolchain
from almaflow.worker.toolchain import Toolchain, take

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "header.h.gch"


class Inductor:
    """Stands for inductor: ``_proved`` makes a header and notes that it did, ``_ask`` keeps what it was told."""

    def __init__(self, directory: Path) -> None:
        self.made = directory / "made"
        self.header = directory / HEADER
        self.known: list[set[str]] = []

    def proved(self) -> Toolchain:
        with self.made.open("a", encoding="ascii") as file:
            file.write("x")
        self.header.write_bytes(b"precompiled")
        return Toolchain(("one", "other"), (toolchain._entry(self.header),), proved=True)

    def ask(self, known: set[str]) -> None:
        self.known.append(known)


@pytest.fixture
def inductor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inductor:
    fake = Inductor(tmp_path)
    monkeypatch.setattr(toolchain, "_proved", fake.proved)
    monkeypatch.setattr(toolchain, "_ask", fake.ask)
    monkeypatch.setattr(toolchain, "_key", lambda: "key")
    return fake


def test_it_is_found_out_once_and_taken_from_the_file_by_everybody(inductor: Inductor, home: Path) -> None:
    for _ in range(3):
        take(home)
    assert inductor.made.read_text() == "x"
    assert inductor.known == [{"one", "other"}] * 3
    assert sorted(path.name for path in (home / "toolchain").iterdir()) == ["key.json", "key.lock"]
    assert (home / "toolchain").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept, _header: kept.write_text("{", encoding="ascii"),
        lambda kept, _header: kept.write_bytes(kept.read_bytes()[:40]),
        lambda kept, _header: kept.write_text('{"form": 1, "checks": [], "headers": []}', encoding="ascii"),
        lambda kept, _header: kept.unlink(),
        lambda _kept, header: header.unlink(),
        lambda _kept, header: header.write_bytes(b"precom"),
        lambda _kept, header: os.utime(header, ns=(1, 1)),
    ],
)
def test_what_is_damaged_or_was_changed_is_made_anew(
    inductor: Inductor, home: Path, spoil: Callable[[Path, Path], object]
) -> None:
    take(home)
    spoil(home / "toolchain" / "key.json", inductor.header)
    take(home)
    assert inductor.made.read_text() == "xx"
    assert len(inductor.known) == 2


def test_two_jobs_at_once_find_it_out_once(inductor: Inductor, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly() -> Toolchain:
        time.sleep(0.2)
        return inductor.proved()

    monkeypatch.setattr(toolchain, "_proved", slowly)
    others = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            take(home)
            os._exit(len(inductor.known))
        others.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in others] == [1, 1]
    assert inductor.made.read_text() == "x"


@pytest.mark.parametrize("trouble", ["crashes", "raises", "hangs"])
def test_a_compiler_in_trouble_costs_nothing_but_what_would_be_kept(
    inductor: Inductor, home: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    troubles = {"crashes": lambda: os._exit(3), "raises": lambda: 1 / 0, "hangs": lambda: time.sleep(600)}
    monkeypatch.setattr(toolchain, "_proved", troubles[trouble])
    monkeypatch.setattr(toolchain, "LONGEST_S", 0.2)
    began = time.monotonic()
    take(home)
    assert time.monotonic() - began < 20
    assert not inductor.known
    assert [path.name for path in (home / "toolchain").iterdir()] == ["key.lock"]


def test_a_home_that_cannot_be_written_and_another_pytorch_are_no_trouble(
    inductor: Inductor, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write_text("a file", encoding="ascii")
    take(home)
    home.unlink()
    monkeypatch.setattr(toolchain, "_key", lambda: 1 / 0)
    take(home)
    assert not inductor.made.exists()
    assert not inductor.known


class Isa:
    """Stands for inductor's set of vector instructions."""

    built: list[str]
    works = True

    def build_arch_flags(self) -> str:
        return "-mflag"

    def build_macro(self) -> list[str]:
        return []

    def check_build(self, code: str) -> bool:
        self.built.append(code)
        return self.works


def test_a_test_program_that_compiled_is_not_compiled_again_and_one_that_did_not_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Isa.built = []
    asked: list[Any] = []
    cpu_vec_isa = SimpleNamespace(VecISA=Isa, valid_vec_isa_list=lambda: Isa().check_build("program"))
    kernels = SimpleNamespace(load_pybinding_async=lambda *arguments: asked.append(arguments))
    codecache = SimpleNamespace(CppPythonBindingsCodeCache=kernels, torch_key=lambda: b"")
    monkeypatch.setitem(sys.modules, "torch._inductor", SimpleNamespace(codecache=codecache, cpu_vec_isa=cpu_vec_isa))
    own = Isa.check_build
    monkeypatch.setattr(Isa, "works", False)
    assert toolchain._ask(set())[0] == set()
    monkeypatch.setattr(Isa, "works", True)
    known = toolchain._ask(set())[0]
    assert len(known) == 1
    assert Isa.built == ["program", "program"]
    assert toolchain._ask(known)[0] == known
    assert Isa.built == ["program", "program"]
    assert Isa.check_build is own
    assert len(asked) == 3


COMPILES = """
import os, pathlib, sys
from almaflow.worker import fork_server, toolchain

fork_server.import_all(["torch", "torch._dynamo", "torch._inductor.compile_fx", "torch._inductor.codegen.cpp"])
place = pathlib.Path(sys.argv[1])
toolchain.take(place / "home")
pathlib.Path(os.environ["CALLS"]).unlink()
toolchain.take(place / "home")
if os.fork() == 0:
    import torch
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(place / "cold")
    torch.set_num_threads(1)
    with torch.no_grad():
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Softmax(1)).eval()
        given = torch.randn(1, 3, 21, 21)
        assert torch.allclose(torch.compile(model)(given), model(given), atol=1e-5)
    sys.stdout.flush()
    os._exit(0)
assert os.wait()[1] == 0
"""
"""A server of workers in a home where another one has found out about the compiler, and a worker with its model."""

COMPILER = """#!/bin/sh
echo "$@" >> "$CALLS"
exec /usr/bin/env PATH="$COMPILERS" g++ "$@"
"""


@pytest.mark.slow
def test_a_worker_compiles_its_models_kernels_and_nothing_else(tmp_path: Path) -> None:
    compiler, calls = tmp_path / "bin" / "g++", tmp_path / "calls"
    compiler.parent.mkdir()
    compiler.write_text(COMPILER, encoding="ascii")
    compiler.chmod(0o700)
    environment = os.environ | {"CALLS": str(calls), "COMPILERS": os.environ["PATH"], "CXX": str(compiler)}
    environment |= {"TORCH_WARM_POOL": "0", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", COMPILES, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    compiled = [line for line in calls.read_text(encoding="utf-8").splitlines() if ".cpp" in line]
    sources = list((tmp_path / "cold").rglob("*.main.cpp")) or list((tmp_path / "cold").rglob("*.cpp"))
    assert sources
    assert len(compiled) == len(sources)
    assert all(any(str(source) in line for line in compiled) for source in sources)
    assert {path.suffix for path in (tmp_path / "home" / "toolchain").iterdir()} == {".json", ".lock"}
    (kept,) = (tmp_path / "home" / "toolchain").glob("*.json")
    assert json.loads(kept.read_text(encoding="utf-8"))["checks"]
