"""A worker may do what it likes: the parent gets a classified end, the log, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests import trouble
from tests.made_jobs import planned

from almaflow.measure import launcher
from almaflow.measure.events import PHASES
from almaflow.measure.launcher import WorkerExit, run_worker
from almaflow.records import FailureKind, HardwareSpec, MeasureSpec, ModelSpec, WorkerTask, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def _troubled_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker with its work replaced, found by the interpreter that the launcher starts."""
    monkeypatch.setattr(launcher, "WORKER_MODULE", "trouble")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *filter(None, sys.path)]))


def make_task(
    directory: Path,
    function: str,
    *,
    converts: bool = False,
    kwargs: dict[str, int] | None = None,
    time_budget_s: float = 60.0,
    memory_limit_mb: float | None = None,
) -> WorkerTask:
    return WorkerTask(
        model=ModelSpec("trouble", target=f"trouble.{function}", kwargs=dict(kwargs or {})),
        hardware=HardwareSpec("here", "cpu", threads=1),
        measure=MeasureSpec(time_budget_s=time_budget_s, memory_limit_mb=memory_limit_mb, compile_cache="warm"),
        conversion=planned() if converts else None,
        work_dir=str(directory),
        reference_path=str(directory / "reference.pt"),
        sys_path=(str(TESTS), *sys.path),
    )


def run(directory: Path, function: str, **settings: Any) -> WorkerExit:
    return run_worker(make_task(directory, function, **settings))


def pids(directory: Path, patience_s: float = 20.0) -> list[int]:
    """The worker's process ID and its helper's, once it has started."""
    deadline = time.monotonic() + patience_s
    while not (directory / trouble.PIDS).exists():
        assert time.monotonic() < deadline, "the worker did not start"
        time.sleep(0.02)
    return [int(pid) for pid in (directory / trouble.PIDS).read_text(encoding="ascii").split()]


def gone(process_ids: list[int], patience_s: float = 5.0) -> bool:
    """Whether none of the processes runs any more, some time from now at the latest."""
    deadline = time.monotonic() + patience_s
    while any(_runs(pid) for pid in process_ids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_good_worker_gives_its_result_and_its_phases(tmp_path: Path) -> None:
    phases: list[str] = []
    left = run_worker(make_task(tmp_path, "good"), phases.append)
    assert left.result.prepared == trouble.PREPARED
    assert left.result.failure is None
    assert phases == ["load"]
    assert left.phase == "load"


def test_garbage_on_stdout_and_stderr_is_kept_in_the_log_and_disturbs_nothing(tmp_path: Path) -> None:
    left = run(tmp_path, "chatter", kwargs={"megabytes": 4})
    assert left.result.prepared == trouble.PREPARED
    log = left.log_path.read_bytes()
    assert len(log) > 8_000_000
    assert log.startswith(b"first words")
    assert log.endswith(b"last words\n")


@pytest.mark.parametrize("function", ["close_descriptors", "write_everywhere"])
def test_descriptors_that_are_closed_or_written_to_cost_nothing(tmp_path: Path, function: str) -> None:
    phases: list[str] = []
    left = run_worker(make_task(tmp_path, function), phases.append)
    assert left.result.prepared == trouble.PREPARED
    assert left.result.failure is None
    assert set(phases) <= set(PHASES)


@pytest.mark.parametrize(
    ("function", "kwargs", "kind", "message", "logged"),
    [
        ("abort", {}, FailureKind.CRASHED, "the worker was killed by SIGABRT", "about to abort"),
        ("segfault", {}, FailureKind.CRASHED, "the worker was killed by SIGSEGV", "Segmentation fault"),
        ("leave", {"code": 3}, FailureKind.ERROR, "SystemExit: 3", ""),
        ("leave_at_once", {"code": 3}, FailureKind.CRASHED, "the worker exited with code 3", ""),
        ("leave_at_once", {"code": 0}, FailureKind.CRASHED, "the worker ended without a result", ""),
    ],
)
def test_each_end_has_its_class(
    tmp_path: Path, function: str, kwargs: dict[str, int], kind: FailureKind, message: str, logged: str
) -> None:
    left = run(tmp_path, function, kwargs=kwargs)
    failure = left.result.failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.phase) == (kind, message, "load")
    assert left.result.prepared is None
    assert logged in left.log_path.read_text(encoding="utf-8")


def test_what_was_measured_before_a_crash_is_kept(tmp_path: Path) -> None:
    for function, message in (
        ("abort_while_checking", "the worker was killed by SIGABRT"),
        ("leave_while_checking", "the worker ended without a result"),
    ):
        directory = tmp_path / function
        directory.mkdir()
        result = run(directory, function, converts=True).result
        assert result.measurement is not None
        assert result.measurement.samples_ms == (1.0, 2.0)
        assert result.failure is not None
        failure = result.failure
        assert (failure.kind, failure.message, failure.phase) == (FailureKind.CRASHED, message, "check")


@pytest.mark.slow
def test_a_result_may_have_tens_of_megabytes(tmp_path: Path) -> None:
    result = run(tmp_path, "long_result", converts=True, kwargs={"samples": 1_000_000}).result
    assert (tmp_path / "result.json").stat().st_size > 10_000_000
    assert result.failure is None
    assert result.measurement is not None
    assert len(result.measurement.samples_ms) == 1_000_000
    assert result.measurement.samples_ms[-1] == 0.25 + 1e-9 * 999_999


@pytest.mark.slow
def test_a_hang_ends_with_its_budget_and_takes_its_helpers_along_while_the_parent_sleeps(tmp_path: Path) -> None:
    busy = time.process_time()
    began = time.monotonic()
    left = run(tmp_path, "sleep_for_ever", time_budget_s=2.0)
    took = time.monotonic() - began
    assert left.result.failure is not None
    assert left.result.failure.kind is FailureKind.TIMEOUT
    assert "measure.time_budget_s=2" in left.result.failure.message
    assert 2.0 <= took < 2.0 + launcher.TERMINATE_GRACE_S + 3.0
    assert time.process_time() - busy < 0.1 * took
    assert gone(pids(tmp_path))


def test_a_helper_does_not_outlive_a_worker_that_ended_well(tmp_path: Path) -> None:
    left = run(tmp_path, "with_helper")
    assert left.result.prepared == trouble.PREPARED
    assert gone(pids(tmp_path))


def test_a_worker_over_its_memory_limit_is_ended(tmp_path: Path) -> None:
    left = run(tmp_path, "eat_memory", memory_limit_mb=300.0)
    assert left.result.failure is not None
    assert left.result.failure.kind is FailureKind.OUT_OF_MEMORY
    assert "of the 300 MB it may use" in left.result.failure.message


def test_a_worker_that_somebody_kills_counts_as_the_kernels_victim(tmp_path: Path) -> None:
    killer = threading.Thread(target=lambda: os.kill(pids(tmp_path)[0], signal.SIGKILL))
    killer.start()
    left = run(tmp_path, "sleep_for_ever")
    killer.join()
    assert left.result.failure is not None
    assert left.result.failure.kind is FailureKind.OUT_OF_MEMORY
    assert "most likely for want of memory" in left.result.failure.message
    assert gone(pids(tmp_path))


def test_an_interrupt_leaves_no_worker(tmp_path: Path) -> None:
    def interrupt(_phase: str) -> None:
        raise KeyboardInterrupt

    before = _open_descriptors()
    with pytest.raises(KeyboardInterrupt):
        run_worker(make_task(tmp_path, "good"), interrupt)
    assert not [child for child in psutil.Process().children() if "trouble" in child.cmdline()]
    assert _open_descriptors() == before


def _open_descriptors() -> int:
    return psutil.Process().num_fds()


def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    write_json(tmp_path / "given.json", make_task(tmp_path, "sleep_for_ever"))
    code = (
        "import sys; from almaflow.measure import launcher; from almaflow.records import WorkerTask, read_json;"
        "launcher.WORKER_MODULE = 'trouble'; launcher.run_worker(read_json(sys.argv[1], WorkerTask))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "given.json")]) as parent:
        started = pids(tmp_path)
        parent.kill()
    assert gone(started)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"\xff{"), lambda path: path.write_text('{"x": 1}')])
def test_a_result_that_is_not_ours_counts_as_none(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "result.json")
    left = run(tmp_path, "leave_at_once", kwargs={"code": 0})
    assert left.result.failure is not None
    assert left.result.failure.message == "the worker ended without a result"
