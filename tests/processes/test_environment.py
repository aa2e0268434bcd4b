"""What a worker finds in its environment before it imports anything."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.example_jobs import planned

from almaflow.processes.environment import THREAD_VARIABLES, server_environment, worker_environment
from almaflow.records import HardwareSpec, MeasureSpec, ModelSpec, WorkerTask


def make_task(tmp_path: Path, *, device: str = "cpu", moved_to: str | None = None, cache: str = "cold") -> WorkerTask:
    return WorkerTask(
        model=ModelSpec("m"),
        hardware=HardwareSpec("here", device, threads=3),
        measure=MeasureSpec(compile_cache=cache),
        conversion=planned(device=moved_to) if moved_to else None,
        work_dir=str(tmp_path / "work"),
        reference_path="",
    )


def test_every_maths_library_gets_the_thread_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    task = make_task(tmp_path)
    for environment in (worker_environment(task), server_environment(task.hardware)):
        assert {environment[name] for name in THREAD_VARIABLES} == {"3"}
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= set(THREAD_VARIABLES)
    assert os.environ["OMP_NUM_THREADS"] == "64"


@pytest.mark.parametrize(
    ("device", "moved_to", "visible"),
    [("cpu", None, ""), ("cuda", None, "5"), ("cuda", "cpu", ""), ("cuda", "cuda", "5"), ("cpu", "cuda", "5")],
)
def test_a_gpu_is_hidden_from_what_runs_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, moved_to: str | None, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    task = make_task(tmp_path, device=device, moved_to=moved_to)
    assert {**os.environ, **worker_environment(task)}["CUDA_VISIBLE_DEVICES"] == visible


def test_a_server_sees_the_gpus_only_where_its_workers_use_them() -> None:
    for device in ("cpu", "cuda"):
        hardware = HardwareSpec("here", device, threads=1)
        assert server_environment(hardware)["CUDA_VISIBLE_DEVICES"] == ""
        assert "CUDA_VISIBLE_DEVICES" not in server_environment(hardware, cuda=True)


@pytest.mark.parametrize(("users", "on_gpu"), [(None, "1"), ("0", "0")])
def test_no_pool_for_triton_is_started_where_there_are_no_such_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: str | None, on_gpu: str
) -> None:
    monkeypatch.delenv("TORCH_WARM_POOL", raising=False)
    if users:
        monkeypatch.setenv("TORCH_WARM_POOL", users)
    for device, warm in (("cpu", "0"), ("cuda", on_gpu)):
        assert worker_environment(make_task(tmp_path, device=device))["TORCH_WARM_POOL"] == warm
        hardware = HardwareSpec("here", device, threads=1)
        assert server_environment(hardware, cuda=device == "cuda")["TORCH_WARM_POOL"] == "0"


def test_a_worker_has_set_only_what_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMETHING_OF_THE_USERS", "1")
    environment = worker_environment(make_task(tmp_path))
    assert "SOMETHING_OF_THE_USERS" not in environment  # it is in the parent's, which comes first
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert server_environment(make_task(tmp_path).hardware).items() <= environment.items()


def test_a_cold_cache_is_the_workers_own_and_a_warm_one_is_shared(tmp_path: Path, home: Path) -> None:
    for cache, place in (("cold", tmp_path / "work"), ("warm", home)):
        environment = worker_environment(make_task(tmp_path, cache=cache))
        assert Path(environment["TORCHINDUCTOR_CACHE_DIR"]) == place / "compile-cache"
        assert Path(environment["TRITON_CACHE_DIR"]).is_relative_to(place / "compile-cache")


def test_a_cold_cache_that_fresh_processes_share_is_where_the_task_says(tmp_path: Path, home: Path) -> None:
    shared = str(tmp_path / "shared")
    for cache, place in (("cold", shared), ("warm", str(home))):
        environment = worker_environment(replace(make_task(tmp_path, cache=cache), cache_dir=shared))
        assert Path(environment["TORCHINDUCTOR_CACHE_DIR"]).is_relative_to(place)
        assert Path(environment["TRITON_CACHE_DIR"]).is_relative_to(place)


def test_relative_import_paths_mean_the_same_in_the_workers_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["src", "", str(tmp_path)]))
    monkeypatch.chdir(tmp_path)
    task = make_task(tmp_path)
    for environment in (worker_environment(task), server_environment(task.hardware)):
        assert environment["PYTHONPATH"] == f"{tmp_path / 'src'}{os.pathsep}{tmp_path}"
    monkeypatch.delenv("PYTHONPATH")
    assert "PYTHONPATH" not in worker_environment(task)
