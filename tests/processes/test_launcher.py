"""The launcher of a job: its server, what that one's death costs, and that no process and no descriptor is left."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.support import misbehaving_workers
from tests.support.misbehaving_launch import (
    facts_of,
    failure_of,
    gone,
    kill_server,
    launching,
    left_running,
    make_task,
    measurement_of,
    open_descriptors,
    pids,
    runs,
    turn,
)

from almaflow.errors import AlmaflowError
from almaflow.processes import process
from almaflow.records import FailureKind

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("troubled_workers")


def test_no_process_survives_closing_the_launcher(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"converts": True, "kwargs": {"trouble": "with_helper", "at": 1}}
    with launching(tmp_path) as launcher:
        workers = [launcher.start(make_task(tmp_path / name, "rounds", **settings)) for name in "ab"]
        assert all(worker.until_ready() and worker.turn(turn(1)) for worker in workers)
        started = [pid for name in "ab" for pid in pids(tmp_path / name)]
        server = launcher._servers[False]
    assert gone(*started, server._popen.pid)
    for worker in workers:  # it was closed in the wrong order, and that is no reason to raise
        worker.close()
    assert measurement_of(workers[0].exit_state().result).rounds


def test_descriptors_and_processes_do_not_leak_over_many_workers(tmp_path: Path, device: str) -> None:
    with launching(tmp_path, device) as launcher:
        run_one = iter(range(100))

        def one() -> None:
            task = make_task(tmp_path / str(next(run_one)), "rounds", device, converts=True)
            with closing(launcher.start(task)) as worker:
                assert worker.until_ready()
                assert worker.turn(turn(1))
                assert worker.finish().result.finished

        one()
        before = open_descriptors()
        server = psutil.Process(launcher._servers[device != "cpu"]._popen.pid)
        server_before = server.num_fds()
        for _ in range(20 if device == "cpu" else 5):
            one()
        assert open_descriptors() == before
        assert server.num_fds() == server_before
        assert not server.children()
    assert not left_running()


def test_a_server_that_is_killed_costs_the_worker_of_the_moment_only(tmp_path: Path) -> None:
    before = open_descriptors()
    with launching(tmp_path) as launcher:
        kwargs = {"trouble": "with_helper", "at": 1}
        task = make_task(tmp_path / "first", "rounds", converts=True, kwargs=kwargs)
        with closing(launcher.start(task)) as worker:
            assert worker.until_ready()
            assert worker.turn(turn(1))
            kill_server(launcher)
            assert worker.turn(turn(2)) is None
            result = worker.finish().result
        assert failure_of(result).kind is FailureKind.MACHINE
        assert "the process that starts the workers was killed" in failure_of(result).message
        assert len(measurement_of(result).rounds) >= 2
        assert gone(*pids(tmp_path / "first"))
        with closing(launcher.start(make_task(tmp_path / "second", "good"))) as worker:
            worker.until_ready()
            assert worker.finish().result.prepared == misbehaving_workers.PREPARED
    assert not left_running()
    assert open_descriptors() == before


def test_a_server_that_is_killed_while_its_worker_computes_is_noticed(tmp_path: Path) -> None:
    with launching(tmp_path) as launcher, closing(launcher.start(make_task(tmp_path, "sleep_for_ever"))) as worker:
        killer = threading.Thread(target=lambda: pids(tmp_path) and kill_server(launcher))
        killer.start()
        began = time.monotonic()
        assert not worker.until_ready()
        result = worker.finish().result
        killer.join()
        assert failure_of(result).kind is FailureKind.MACHINE
        assert time.monotonic() - began < 20
        assert gone(*pids(tmp_path))


def test_a_server_that_was_killed_between_workers_is_replaced(tmp_path: Path) -> None:
    with (
        launching(tmp_path) as launcher,
        closing(launcher.start(make_task(tmp_path / "0", "rounds", converts=True))) as waiting,
    ):
        assert waiting.until_ready()
        for name in ("1", "2"):
            killed = kill_server(launcher)
            with closing(launcher.start(make_task(tmp_path / name, "good"))) as worker:
                worker.until_ready()
                assert worker.finish().result.prepared == misbehaving_workers.PREPARED
            assert launcher._servers[False]._popen.pid != killed
        assert waiting.turn(turn(1)) is None
        assert runs(waiting.process.pid)  # nobody has ended it yet
        waiting.finish()
        assert gone(waiting.process.pid)
    assert not left_running()


def test_a_server_that_cannot_start_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SERVER_MODULE", "no_such_module_anywhere")
    before = open_descriptors()
    with launching(tmp_path) as launcher:
        for _ in range(2):
            with pytest.raises(AlmaflowError, match=r"has gone \(.*No module named no_such_module_anywhere") as caught:
                launcher.start(make_task(tmp_path, "good"))
            assert "\n" not in str(caught.value)
    assert open_descriptors() == before


def test_one_server_starts_what_runs_on_a_gpu_and_another_what_runs_on_the_cpu(tmp_path: Path) -> None:
    with launching(tmp_path, "cuda") as launcher:
        for name, where, cuda in (("gpu", "cuda", True), ("cpu", "cpu", False)):
            assert False not in launcher._servers  # the job is for a GPU, and none has run on the CPU yet
            with closing(launcher.start(make_task(tmp_path / name, "rounds", where, converts=True))) as worker:
                assert worker.until_ready()
                server = launcher._servers[cuda]._popen.pid
                assert psutil.Process(worker.process.pid).ppid() == server
                same_program = psutil.Process(worker.process.pid).cmdline() == psutil.Process(server).cmdline()
                assert same_program != cuda  # this server takes CUDA for started
                assert worker.finish().result.finished
    assert not left_running()


def test_what_runs_on_a_gpu_is_forked_too_while_its_server_has_not_started_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(misbehaving_workers.CUDA_UNSTARTED, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with launching(tmp_path, "cuda", preload=("colorsys",)) as launcher:
        launcher.until_imported()
        with closing(launcher.start(make_task(tmp_path / "work", "tell", "cuda"))) as worker:
            worker.until_ready()
            assert worker.finish().result.finished
    facts = facts_of(tmp_path / "work")
    assert "colorsys" in facts["modules"]
    assert facts["environment"]["CUDA_VISIBLE_DEVICES"] == "3"
