"""A server of workers for CUDA never starts CUDA, and knows where a package that it imported has."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.misbehaving_launch import TESTS, facts_of, launching, make_task
from tests.support.misbehaving_workers import CUDA_UNSTARTED

from almaflow.machine import gpus
from almaflow.worker import cuda_unstarted
from almaflow.worker.cuda_unstarted import BY_NVML, NOT_INITIALIZED, asked_by_nvml, started, unusable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def starts_cuda(*_: object) -> Any:
    pytest.fail("this would start CUDA")


def fake_torch(monkeypatch: pytest.MonkeyPatch, **cuda: Callable[..., Any]) -> SimpleNamespace:
    torch = SimpleNamespace(cuda=SimpleNamespace(get_device_capability=starts_cuda, **cuda))
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


def test_a_package_that_asks_for_the_gpus_architecture_is_answered_by_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = fake_torch(monkeypatch)
    monkeypatch.setattr(gpus, "compute_capability", {0: (9, 0), 1: (8, 6)}.get)
    monkeypatch.delenv(BY_NVML, raising=False)
    with asked_by_nvml():
        assert os.environ[BY_NVML] == "1"
        assert torch.cuda.get_device_capability() == (9, 0)
        assert torch.cuda.get_device_capability(1) == (8, 6)
    assert BY_NVML not in os.environ
    assert torch.cuda.get_device_capability is starts_cuda


def test_what_nvml_cannot_tell_pytorch_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = fake_torch(monkeypatch)
    torch.cuda.get_device_capability = lambda device=None: (7, device)
    monkeypatch.setattr(gpus, "compute_capability", lambda _index: None)
    with asked_by_nvml():
        assert torch.cuda.get_device_capability("cuda:0") == (7, "cuda:0")
        assert torch.cuda.get_device_capability(2) == (7, 2)


def test_without_pytorch_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with asked_by_nvml():
        assert "torch" not in sys.modules
    assert not started()
    assert not unusable()


@pytest.mark.parametrize(("answer", "is_started"), [(NOT_INITIALIZED, False), (0, True), (100, True)])
def test_the_driver_is_asked_whether_it_was_started_whoever_has_loaded_it(
    monkeypatch: pytest.MonkeyPatch, answer: int, is_started: bool
) -> None:
    fake_torch(monkeypatch, is_initialized=lambda: False)
    modes = []

    def load(name: str, mode: int) -> SimpleNamespace:
        modes.append((name, mode & os.RTLD_NOLOAD))
        return SimpleNamespace(cuDeviceGetCount=lambda _count: answer)

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert started() is is_started
    assert modes == [(cuda_unstarted.DRIVER, os.RTLD_NOLOAD)]


def test_a_driver_that_nobody_has_loaded_was_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    fake_torch(monkeypatch, is_initialized=lambda: False)
    assert not started()
    fake_torch(monkeypatch, is_initialized=lambda: True)
    assert started()


QUANTO = """
import torch
AVAILABLE, CAPABILITY = torch.cuda.is_available(), torch.cuda.get_device_capability(0)
"""
"""What optimum-quanto asks where it is imported."""

GPU = """
import torch
from almaflow.machine import gpus
torch.cuda._device_count_nvml = lambda: 1
gpus.compute_capability = lambda index: (9, 0)
"""
"""A GPU as NVML would show it."""

ASKS_CUDA = "import torch; torch._C._cuda_getDeviceCount()"


@pytest.mark.slow
@pytest.mark.usefixtures("troubled_workers")
@pytest.mark.parametrize(("last", "forked"), [("like_quanto", True), ("asks_cuda", False)])
def test_a_worker_for_cuda_is_forked_unless_an_import_has_asked_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, forked: bool
) -> None:
    for name, code in (("a_gpu", GPU), ("like_quanto", QUANTO), ("asks_cuda", ASKS_CUDA)):
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(TESTS), *filter(None, sys.path)]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv(CUDA_UNSTARTED, "1")
    with launching(tmp_path, "cuda", preload=("torch", "a_gpu", last)) as launcher:
        launcher.until_imported()
        with closing(launcher.start(make_task(tmp_path / "work", "tell", "cuda"))) as worker:
            worker.until_ready()
            assert worker.finish().result.finished
    facts = facts_of(tmp_path / "work")
    assert (last in facts["modules"]) is forked
    assert not facts["cuda_unusable"]
    assert facts["environment"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert BY_NVML not in facts["environment"]
