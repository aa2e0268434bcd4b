"""A worker may do what it likes: the parent gets a classified end, what was measured, and the log.

Everything holds for both ways of starting one: a fresh interpreter, and a fork of the clean server.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.support import misbehaving_workers
from tests.support.misbehaving_launch import (
    failure_of,
    gone,
    launching,
    left_running,
    make_task,
    measurement_of,
    open_descriptors,
    pids,
    run,
    runs,
    taking_rounds,
    turn,
)

from almaflow.processes import worker_handle as watch
from almaflow.processes.launcher import run_worker
from almaflow.records import FailureKind, write_json
from almaflow.records.protocol import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("troubled_workers")


def test_a_good_worker_gives_its_result_and_its_phases(tmp_path: Path, device: str) -> None:
    phases: list[str] = []
    exit_state = run_worker(make_task(tmp_path, "good", device), phases.append)
    assert exit_state.result.prepared == misbehaving_workers.PREPARED
    assert exit_state.result.failure is None
    assert exit_state.result.finished
    assert phases == ["load"]
    assert exit_state.phase == "load"


def test_garbage_on_stdout_and_stderr_is_kept_in_the_log_and_disturbs_nothing(tmp_path: Path, device: str) -> None:
    exit_state = run(tmp_path, "chatter", device, kwargs={"megabytes": 4})
    assert exit_state.result.prepared == misbehaving_workers.PREPARED
    log = exit_state.log_path.read_bytes()
    assert b"first words" in log[:100]
    assert b"bytes cut out here" in log
    assert log.endswith(b"last words\n")
    assert len(log) < 3_100_000


@pytest.mark.parametrize("function", ["close_descriptors", "write_everywhere"])
def test_descriptors_that_are_closed_or_written_to_cost_nothing(tmp_path: Path, device: str, function: str) -> None:
    phases: list[str] = []
    exit_state = run_worker(make_task(tmp_path, function, device), phases.append)
    assert exit_state.result.prepared == misbehaving_workers.PREPARED
    assert exit_state.result.failure is None
    assert set(phases) <= set(PHASES)


@pytest.mark.parametrize(
    ("function", "kwargs", "kind", "message", "logged"),
    [
        ("abort", {}, FailureKind.CRASHED, "the worker was killed by SIGABRT", "about to abort"),
        ("segfault", {}, FailureKind.CRASHED, "the worker was killed by SIGSEGV", "Segmentation fault"),
        ("leave_at_once", {"code": 3}, FailureKind.CRASHED, "the worker exited with code 3", ""),
        ("leave_at_once", {"code": 0}, FailureKind.CRASHED, "the worker ended without a result", ""),
    ],
)
def test_each_end_has_its_class(
    tmp_path: Path, device: str, function: str, kwargs: dict[str, int], kind: FailureKind, message: str, logged: str
) -> None:
    exit_state = run(tmp_path, function, device, kwargs=kwargs)
    failure = failure_of(exit_state.result)
    assert (failure.kind, failure.message, failure.phase) == (kind, message, "load")
    assert exit_state.result.prepared is None
    assert logged in exit_state.log_path.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_result_that_cannot_be_written_is_the_machines_trouble(tmp_path: Path, device: str, number: int) -> None:
    result = run(tmp_path, "fill_the_disk", device, kwargs={"number": number}).result
    failure = failure_of(result)
    assert (failure.kind, failure.phase, result.finished) == (FailureKind.MACHINE, "load", False)
    assert failure.message.startswith(f"the worker could not keep its result: {os.strerror(number)}; ")
    assert failure.message.endswith(" and go on with resume=true")


@pytest.mark.slow
def test_a_worker_that_is_stopped_for_more_than_its_budget_has_not_been_too_slow(tmp_path: Path) -> None:
    stopper = threading.Thread(target=lambda: os.kill(pids(tmp_path)[0], signal.SIGSTOP))
    stopper.start()
    exit_state = run(tmp_path, "sleep_for_ever", "cpu", time_budget_s=4.0)
    stopper.join()
    failure = failure_of(exit_state.result)
    assert failure.kind is FailureKind.MACHINE
    assert failure.message.startswith("stopped by a signal for 4 s; ")
    assert gone(*pids(tmp_path))


def test_code_that_exits_while_the_model_is_built_is_the_users_to_mend(tmp_path: Path, device: str) -> None:
    result = run(tmp_path, "leave", device, kwargs={"code": 3}).result
    assert result.failure is None
    assert "exits" in (result.bad_input or "")


def test_what_was_measured_before_a_crash_is_kept(tmp_path: Path, device: str) -> None:
    for function, message in (
        ("abort_while_checking", "the worker was killed by SIGABRT"),
        ("leave_while_checking", "the worker ended without a result"),
    ):
        result = run(tmp_path / function, function, device, converts=True).result
        assert measurement_of(result).samples_ms == (1.0, 2.0)
        failure = failure_of(result)
        assert (failure.kind, failure.message, failure.phase) == (FailureKind.CRASHED, message, "check")


@pytest.mark.slow
def test_a_result_may_have_tens_of_megabytes(tmp_path: Path, device: str) -> None:
    result = run(tmp_path, "long_result", device, converts=True, kwargs={"samples": 1_000_000}).result
    assert (tmp_path / "result.json").stat().st_size > 10_000_000
    assert result.failure is None
    assert len(measurement_of(result).samples_ms) == 1_000_000
    assert measurement_of(result).samples_ms[-1] == 0.25 + 1e-9 * 999_999


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"\xff{"), lambda path: path.write_text('{"x": 1}')])
def test_a_result_that_is_not_ours_counts_as_none(tmp_path: Path, device: str, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "result.json")
    exit_state = run(tmp_path, "leave_at_once", device, kwargs={"code": 0})
    assert failure_of(exit_state.result).message == "the worker ended without a result"


def test_a_worker_that_somebody_kills_counts_as_the_kernels_victim(tmp_path: Path, device: str) -> None:
    killer = threading.Thread(target=lambda: os.kill(pids(tmp_path)[0], signal.SIGKILL))
    killer.start()
    exit_state = run(tmp_path, "sleep_for_ever", device)
    killer.join()
    assert failure_of(exit_state.result).kind is FailureKind.OUT_OF_MEMORY
    assert "most likely for want of memory" in failure_of(exit_state.result).message
    assert gone(*pids(tmp_path))


def test_a_worker_over_its_memory_limit_is_ended(tmp_path: Path, device: str) -> None:
    exit_state = run(tmp_path, "eat_memory", device, memory_limit_mb=300.0)
    assert failure_of(exit_state.result).kind is FailureKind.OUT_OF_MEMORY
    assert "of the 300 MB it may use" in failure_of(exit_state.result).message


def test_a_worker_whose_helper_is_over_the_memory_limit_is_ended_with_it(tmp_path: Path, device: str) -> None:
    exit_state = run(tmp_path, "helper_eats_memory", device, memory_limit_mb=250.0, kwargs={"megabytes": 300})
    failure = failure_of(exit_state.result)
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    used = re.fullmatch(
        r"used (\d+) MB, (\d+) MB of it in processes it started, of the 250 MB it may use", failure.message
    )
    assert used, failure.message
    assert 100 < int(used[2]) < int(used[1])
    assert 250 <= int(used[1]) < 500
    assert gone(*pids(tmp_path))


def test_the_peak_of_memory_is_that_of_the_worker_and_its_helpers(tmp_path: Path) -> None:
    trouble: dict[str, Any] = {"at": 1, "megabytes": 200, "for_s": 0.8}
    with taking_rounds(tmp_path, "cpu", trouble="helper_eats_memory", **trouble) as worker:
        assert measurement_of(worker.exit_state().result).peak_memory_mb is None  # what the worker itself said
        assert worker.turn(turn(1))
        peak_mb = measurement_of(worker.finish().result).peak_memory_mb
    assert peak_mb is not None
    assert 200 < peak_mb < 400


def test_what_a_worker_leaves_in_a_session_of_its_own_is_ended_and_told(tmp_path: Path, device: str) -> None:
    with taking_rounds(tmp_path, device, trouble="leave_a_daemon", at=1) as worker:
        assert worker.turn(turn(1))
        started = pids(tmp_path)
        assert all(runs(pid) for pid in started)
        result = worker.finish().result
        assert gone(*started)
    assert measurement_of(result).notes == ("left processes running, which were ended: sleep",)


def test_what_a_worker_that_is_ended_left_is_ended_too(tmp_path: Path, device: str) -> None:
    with taking_rounds(tmp_path, device, trouble="leave_a_daemon", at=1) as worker:
        assert worker.turn(turn(1))
    assert gone(*pids(tmp_path))


@pytest.mark.slow
def test_a_hang_ends_with_its_budget_and_takes_its_helpers_along_while_the_parent_sleeps(
    tmp_path: Path, device: str
) -> None:
    with launching(tmp_path, device) as launcher:
        worker = launcher.start(make_task(tmp_path, "sleep_for_ever", device, time_budget_s=2.0))
        busy = time.process_time()
        began = time.monotonic()
        with closing(worker):
            assert not worker.until_ready()
            exit_state = worker.finish()
        took = time.monotonic() - began
    assert failure_of(exit_state.result).kind is FailureKind.TIMEOUT
    assert "measure.time_budget_s=2" in failure_of(exit_state.result).message
    assert 2.0 <= took < 2.0 + watch.TERMINATE_GRACE_S + 3.0
    assert time.process_time() - busy < 0.1 * took
    assert gone(*pids(tmp_path))


def test_a_helper_does_not_outlive_a_worker_that_ended_well(tmp_path: Path, device: str) -> None:
    exit_state = run(tmp_path, "with_helper", device)
    assert exit_state.result.prepared == misbehaving_workers.PREPARED
    assert gone(*pids(tmp_path))


def test_an_interrupt_leaves_no_worker(tmp_path: Path, device: str) -> None:
    def interrupt(_phase: str) -> None:
        raise KeyboardInterrupt

    before = open_descriptors()
    with pytest.raises(KeyboardInterrupt):
        run_worker(make_task(tmp_path, "good", device), interrupt)
    assert not left_running()
    assert open_descriptors() == before


@pytest.mark.parametrize("waits", [False, True])
def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path: Path, device: str, waits: bool) -> None:
    if waits:  # it has taken a round in which it started a helper, and waits for the next one
        task = make_task(tmp_path, "rounds", device, converts=True, kwargs={"trouble": "with_helper", "at": 1})
    else:
        task = make_task(tmp_path, "sleep_for_ever", device)
    write_json(tmp_path / "given.json", task)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from almaflow.processes import launcher, process; from almaflow.records.protocol import RoundRequest\n"
        "from almaflow.records import WorkerTask, read_json\n"
        "process.WORKER_MODULE = process.SERVER_MODULE = 'misbehaving_workers'\n"
        "task = read_json(sys.argv[1], WorkerTask)\n"
        "with launcher.Launcher(task.hardware, Path('server.log')) as started:\n"
        "    worker = started.start(task)\n"
        "    worker.until_ready()\n"
        "    worker.turn(RoundRequest(1, 1, 0.0, 1.0))\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "given.json")], cwd=tmp_path) as parent:
        started = [*pids(tmp_path), *(child.pid for child in psutil.Process(parent.pid).children())]
        parent.kill()
    assert gone(*started)
