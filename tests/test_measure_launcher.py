"""A worker may do what it likes: the parent gets a classified end, the log, and no process is left.

Everything holds for both ways of starting one: a fresh interpreter, and a fork of the clean server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests import trouble
from tests.made_jobs import planned

from almaflow.errors import AlmaflowError
from almaflow.measure import process, watch
from almaflow.measure.events import PHASES, Turn
from almaflow.measure.launcher import Launcher, run_worker
from almaflow.records import FailureKind, HardwareSpec, MeasureSpec, ModelSpec, WorkerTask, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.measure.watch import Worker, WorkerExit

TESTS = Path(__file__).parent
DEVICES = {"spawned": "cuda", "forked": "cpu"}
"""Workers for a GPU are spawned, and the troubled ones never look for it."""


@pytest.fixture(autouse=True)
def _troubled_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker and server with the work replaced, found by the interpreter that the launcher starts."""
    monkeypatch.setattr(process, "WORKER_MODULE", "trouble")
    monkeypatch.setattr(process, "SERVER_MODULE", "trouble")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *filter(None, sys.path)]))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The device that makes the launcher start a worker in the one way and in the other."""
    return DEVICES[request.param]


def make_task(
    directory: Path,
    function: str,
    device: str = "cpu",
    *,
    converts: bool = False,
    kwargs: dict[str, Any] | None = None,
    time_budget_s: float = 60.0,
    memory_limit_mb: float | None = None,
) -> WorkerTask:
    directory.mkdir(exist_ok=True)
    return WorkerTask(
        model=ModelSpec("trouble", target=f"trouble.{function}", kwargs=dict(kwargs or {})),
        hardware=HardwareSpec("here", device, threads=1),
        measure=MeasureSpec(time_budget_s=time_budget_s, memory_limit_mb=memory_limit_mb, compile_cache="warm"),
        conversion=planned(device=device) if converts else None,
        work_dir=str(directory),
        reference_path=str(directory / "reference.pt"),
        sys_path=(str(TESTS), *sys.path),
    )


def run(directory: Path, function: str, device: str, **settings: Any) -> WorkerExit:
    return run_worker(make_task(directory, function, device, **settings))


def turn(index: int) -> Turn:
    return Turn(index, min_calls=1, min_time_s=0.0, max_time_s=1.0)


@contextmanager
def launching(directory: Path, device: str = "cpu") -> Iterator[Launcher]:
    with Launcher(HardwareSpec("here", device, threads=1), directory / "server.log") as launcher:
        yield launcher


@contextmanager
def taking_rounds(
    directory: Path, device: str, function: str = "rounds", settings: dict[str, Any] | None = None, **kwargs: Any
) -> Iterator[Worker]:
    """A worker that is ready, having taken the round that it takes by itself."""
    task = make_task(directory, function, device, converts=True, kwargs=kwargs, **settings or {})
    with launching(directory, device) as launcher, closing(launcher.start(task)) as worker:
        assert worker.until_ready()
        assert worker.report == trouble.REPORT
        yield worker


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


def kill_server(launcher: Launcher) -> int:
    """Kill it as the kernel would; its process ID."""
    server = launcher._server
    assert server is not None
    server._popen.kill()
    server._popen.wait()
    return server._popen.pid


def _open_descriptors() -> int:
    return psutil.Process().num_fds()


def _left_running() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "trouble" in child.cmdline():
                found.append(child)
    return found


def test_a_good_worker_gives_its_result_and_its_phases(tmp_path: Path, device: str) -> None:
    phases: list[str] = []
    left = run_worker(make_task(tmp_path, "good", device), phases.append)
    assert left.result.prepared == trouble.PREPARED
    assert left.result.failure is None
    assert left.result.finished
    assert phases == ["load"]
    assert left.phase == "load"


def test_garbage_on_stdout_and_stderr_is_kept_in_the_log_and_disturbs_nothing(tmp_path: Path, device: str) -> None:
    left = run(tmp_path, "chatter", device, kwargs={"megabytes": 4})
    assert left.result.prepared == trouble.PREPARED
    log = left.log_path.read_bytes()
    assert len(log) > 8_000_000
    assert log.startswith(b"first words")
    assert log.endswith(b"last words\n")


@pytest.mark.parametrize("function", ["close_descriptors", "write_everywhere"])
def test_descriptors_that_are_closed_or_written_to_cost_nothing(tmp_path: Path, device: str, function: str) -> None:
    phases: list[str] = []
    left = run_worker(make_task(tmp_path, function, device), phases.append)
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
    tmp_path: Path, device: str, function: str, kwargs: dict[str, int], kind: FailureKind, message: str, logged: str
) -> None:
    left = run(tmp_path, function, device, kwargs=kwargs)
    failure = left.result.failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.phase) == (kind, message, "load")
    assert left.result.prepared is None
    assert logged in left.log_path.read_text(encoding="utf-8")


def test_what_was_measured_before_a_crash_is_kept(tmp_path: Path, device: str) -> None:
    for function, message in (
        ("abort_while_checking", "the worker was killed by SIGABRT"),
        ("leave_while_checking", "the worker ended without a result"),
    ):
        result = run(tmp_path / function, function, device, converts=True).result
        assert result.measurement is not None
        assert result.measurement.samples_ms == (1.0, 2.0)
        assert result.failure is not None
        failure = result.failure
        assert (failure.kind, failure.message, failure.phase) == (FailureKind.CRASHED, message, "check")


@pytest.mark.slow
def test_a_result_may_have_tens_of_megabytes(tmp_path: Path, device: str) -> None:
    result = run(tmp_path, "long_result", device, converts=True, kwargs={"samples": 1_000_000}).result
    assert (tmp_path / "result.json").stat().st_size > 10_000_000
    assert result.failure is None
    assert result.measurement is not None
    assert len(result.measurement.samples_ms) == 1_000_000
    assert result.measurement.samples_ms[-1] == 0.25 + 1e-9 * 999_999


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
            left = worker.finish()
        took = time.monotonic() - began
    assert left.result.failure is not None
    assert left.result.failure.kind is FailureKind.TIMEOUT
    assert "measure.time_budget_s=2" in left.result.failure.message
    assert 2.0 <= took < 2.0 + watch.TERMINATE_GRACE_S + 3.0
    assert time.process_time() - busy < 0.1 * took
    assert gone(pids(tmp_path))


def test_a_helper_does_not_outlive_a_worker_that_ended_well(tmp_path: Path, device: str) -> None:
    left = run(tmp_path, "with_helper", device)
    assert left.result.prepared == trouble.PREPARED
    assert gone(pids(tmp_path))


def test_a_helper_dies_with_its_worker_not_only_with_the_job(tmp_path: Path, device: str) -> None:
    with taking_rounds(tmp_path, device, trouble="with_helper", at=1) as worker:
        assert worker.turn(turn(1))
        assert _runs(pids(tmp_path)[1])
        assert worker.finish().result.failure is None
        assert gone(pids(tmp_path))


def test_a_worker_over_its_memory_limit_is_ended(tmp_path: Path, device: str) -> None:
    left = run(tmp_path, "eat_memory", device, memory_limit_mb=300.0)
    assert left.result.failure is not None
    assert left.result.failure.kind is FailureKind.OUT_OF_MEMORY
    assert "of the 300 MB it may use" in left.result.failure.message


def test_a_worker_that_somebody_kills_counts_as_the_kernels_victim(tmp_path: Path, device: str) -> None:
    killer = threading.Thread(target=lambda: os.kill(pids(tmp_path)[0], signal.SIGKILL))
    killer.start()
    left = run(tmp_path, "sleep_for_ever", device)
    killer.join()
    assert left.result.failure is not None
    assert left.result.failure.kind is FailureKind.OUT_OF_MEMORY
    assert "most likely for want of memory" in left.result.failure.message
    assert gone(pids(tmp_path))


def test_an_interrupt_leaves_no_worker(tmp_path: Path, device: str) -> None:
    def interrupt(_phase: str) -> None:
        raise KeyboardInterrupt

    before = _open_descriptors()
    with pytest.raises(KeyboardInterrupt):
        run_worker(make_task(tmp_path, "good", device), interrupt)
    assert not _left_running()
    assert _open_descriptors() == before


@pytest.mark.parametrize("waits", [False, True])
def test_a_worker_ends_with_a_parent_that_is_killed(tmp_path: Path, device: str, waits: bool) -> None:
    if waits:  # it has taken a round in which it started a helper, and waits for the next one
        task = make_task(tmp_path, "rounds", device, converts=True, kwargs={"trouble": "with_helper", "at": 1})
    else:
        task = make_task(tmp_path, "sleep_for_ever", device)
    write_json(tmp_path / "given.json", task)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from almaflow.measure import launcher, process; from almaflow.measure.events import Turn\n"
        "from almaflow.records import WorkerTask, read_json\n"
        "process.WORKER_MODULE = process.SERVER_MODULE = 'trouble'\n"
        "task = read_json(sys.argv[1], WorkerTask)\n"
        "with launcher.Launcher(task.hardware, Path('server.log')) as started:\n"
        "    worker = started.start(task)\n"
        "    worker.until_ready()\n"
        "    worker.turn(Turn(1, 1, 0.0, 1.0))\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "given.json")], cwd=tmp_path) as parent:
        started = [*pids(tmp_path), *(child.pid for child in psutil.Process(parent.pid).children())]
        parent.kill()
    assert gone(started)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"\xff{"), lambda path: path.write_text('{"x": 1}')])
def test_a_result_that_is_not_ours_counts_as_none(tmp_path: Path, device: str, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "result.json")
    left = run(tmp_path, "leave_at_once", device, kwargs={"code": 0})
    assert left.result.failure is not None
    assert left.result.failure.message == "the worker ended without a result"


def test_a_worker_takes_rounds_when_it_is_asked_and_finishes_when_it_is_asked(tmp_path: Path, device: str) -> None:
    phases: list[str] = []
    task = make_task(tmp_path, "rounds", device, converts=True)
    with launching(tmp_path, device) as launcher, closing(launcher.start(task, phases.append)) as worker:
        assert worker.until_ready()
        assert [worker.turn(turn(index)) for index in (1, 2)] == [trouble.REPORT] * 2
        assert worker.process.poll() is None
        left = worker.finish()
    assert phases == ["load", "ready", "measure", "ready", "measure", "ready"]
    assert left.result.finished
    assert left.result.failure is None
    assert left.result.measurement is not None
    assert [each.index for each in left.result.measurement.rounds] == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "code", "kind", "message"),
    [
        ("abort", 0, FailureKind.CRASHED, "the worker was killed by SIGABRT"),
        ("leave_at_once", 4, FailureKind.CRASHED, "the worker exited with code 4"),
        ("leave", 4, FailureKind.ERROR, "SystemExit: 4"),
    ],
)
def test_a_crash_in_a_later_round_keeps_the_rounds_before_it(
    tmp_path: Path, device: str, function: str, code: int, kind: FailureKind, message: str
) -> None:
    with taking_rounds(tmp_path, device, trouble=function, at=2, code=code) as worker:
        assert worker.turn(turn(1)) == trouble.REPORT
        assert worker.turn(turn(2)) is None
        assert worker.turn(turn(3)) is None
        result = worker.finish().result
    assert result.failure is not None
    assert (result.failure.kind, result.failure.message, result.failure.phase) == (kind, message, "measure")
    assert result.measurement is not None
    assert len(result.measurement.rounds) == 2
    assert result.measurement.samples_ms == (1.0, 2.0) * 2


def test_a_worker_that_dies_while_it_waits_is_noticed_at_its_next_turn(tmp_path: Path, device: str) -> None:
    with taking_rounds(tmp_path, device, "die_while_waiting", code=5) as worker:
        assert gone([worker.process.pid])
        assert worker.turn(turn(1)) is None
        result = worker.finish().result
    assert result.failure is not None
    assert result.failure.message == "the worker exited with code 5"
    assert result.measurement is not None
    assert len(result.measurement.rounds) == 1


def test_a_worker_over_its_memory_limit_is_ended_in_the_middle_of_its_turn(tmp_path: Path, device: str) -> None:
    settings = {"memory_limit_mb": 300.0}
    with taking_rounds(tmp_path, device, settings=settings, trouble="eat_memory", at=2) as worker:
        assert worker.turn(turn(1)) == trouble.REPORT
        assert worker.turn(turn(2)) is None
        result = worker.finish().result
    assert result.failure is not None
    assert result.failure.kind is FailureKind.OUT_OF_MEMORY
    assert result.measurement is not None
    assert len(result.measurement.rounds) == 2


def test_the_budget_is_spent_by_the_workers_own_time_and_not_by_waiting_for_turns(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + skipped_s[0], sleep=time.sleep)
    monkeypatch.setattr(watch, "time", clock)
    monkeypatch.setattr(watch, "TERMINATE_GRACE_S", 0.2)
    settings = {"time_budget_s": 1e6}
    with taking_rounds(tmp_path, device, settings=settings, trouble="sleep_for_ever", at=4) as worker:
        skipped_s[0] += 1e7  # others have their turns
        assert worker.turn(turn(1)) == trouble.REPORT

        def take_long(phase: str) -> None:
            skipped_s[0] += 6e5 * (phase == "measure")

        worker.on_phase = take_long
        assert worker.turn(turn(2)) == trouble.REPORT
        assert worker.turn(turn(4)) is None  # this one and the last are more than the budget
        result = worker.finish().result
    assert result.failure is not None
    assert (result.failure.kind, result.failure.phase) == (FailureKind.TIMEOUT, "measure")
    assert result.measurement is not None
    assert len(result.measurement.rounds) == 3
    assert gone([worker.process.pid])


def test_closing_a_worker_that_waits_ends_it_and_keeps_what_it_has(tmp_path: Path, device: str) -> None:
    with taking_rounds(tmp_path, device, trouble="with_helper", at=1) as worker:
        assert worker.turn(turn(1))
        worker.close()
        worker.close()
        assert gone(pids(tmp_path))
        left = worker.left()
    assert left.result.failure is None
    assert not left.result.finished
    assert left.result.measurement is not None
    assert len(left.result.measurement.rounds) == 2


def test_no_process_survives_closing_the_launcher(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"converts": True, "kwargs": {"trouble": "with_helper", "at": 1}}
    with launching(tmp_path) as launcher:
        workers = [launcher.start(make_task(tmp_path / name, "rounds", **settings)) for name in "ab"]
        assert all(worker.until_ready() and worker.turn(turn(1)) for worker in workers)
        started = [pid for name in "ab" for pid in pids(tmp_path / name)]
        server = launcher._server
    assert server is not None
    assert gone([*started, server._popen.pid])
    for worker in workers:  # it was closed in the wrong order, and that is no reason to raise
        worker.close()
    assert workers[0].left().result.measurement is not None


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
        before = _open_descriptors()
        server = psutil.Process(launcher._server._popen.pid) if launcher._server else None
        server_before = server.num_fds() if server else 0
        for _ in range(20 if device == "cpu" else 5):
            one()
        assert _open_descriptors() == before
        if server:
            assert server.num_fds() == server_before
            assert not server.children()
    assert not _left_running()


def test_a_server_that_is_killed_costs_the_worker_of_the_moment_only(tmp_path: Path) -> None:
    before = _open_descriptors()
    with launching(tmp_path) as launcher:
        kwargs = {"trouble": "with_helper", "at": 1}
        task = make_task(tmp_path / "first", "rounds", converts=True, kwargs=kwargs)
        with closing(launcher.start(task)) as worker:
            assert worker.until_ready()
            assert worker.turn(turn(1))
            kill_server(launcher)
            assert worker.turn(turn(2)) is None
            result = worker.finish().result
        assert result.failure is not None
        assert result.failure.kind is FailureKind.OUT_OF_MEMORY  # what the kernel kills for
        assert result.measurement is not None
        assert len(result.measurement.rounds) >= 2
        assert gone(pids(tmp_path / "first"))
        with closing(launcher.start(make_task(tmp_path / "second", "good"))) as worker:
            worker.until_ready()
            assert worker.finish().result.prepared == trouble.PREPARED
    assert not _left_running()
    assert _open_descriptors() == before


def test_a_server_that_is_killed_while_its_worker_computes_is_noticed(tmp_path: Path) -> None:
    with launching(tmp_path) as launcher, closing(launcher.start(make_task(tmp_path, "sleep_for_ever"))) as worker:
        killer = threading.Thread(target=lambda: pids(tmp_path) and kill_server(launcher))
        killer.start()
        began = time.monotonic()
        assert not worker.until_ready()
        failure = worker.finish().result.failure
        killer.join()
        assert failure is not None
        assert failure.kind is FailureKind.OUT_OF_MEMORY
        assert time.monotonic() - began < 20
        assert gone(pids(tmp_path))


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
                assert worker.finish().result.prepared == trouble.PREPARED
            assert launcher._server is not None
            assert launcher._server._popen.pid != killed
        assert waiting.turn(turn(1)) is None
        assert _runs(waiting.process.pid)  # nobody has ended it yet
        waiting.finish()
        assert gone([waiting.process.pid])
    assert not _left_running()


def test_a_server_that_cannot_start_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SERVER_MODULE", "no_such_module_anywhere")
    before = _open_descriptors()
    with launching(tmp_path) as launcher:
        for _ in range(2):
            with pytest.raises(AlmaflowError, match=r"has gone \(.*No module named no_such_module_anywhere") as caught:
                launcher.start(make_task(tmp_path, "good"))
            assert "\n" not in str(caught.value)
    assert _open_descriptors() == before


def test_a_worker_for_a_gpu_needs_no_server_and_one_for_the_cpu_gets_one_in_the_same_job(tmp_path: Path) -> None:
    with launching(tmp_path, "cuda") as launcher:
        for name, where in (("gpu", "cuda"), ("cpu", "cpu")):
            assert launcher._server is None
            with closing(launcher.start(make_task(tmp_path / name, "rounds", where, converts=True))) as worker:
                assert worker.until_ready()
                parent = psutil.Process(worker.process.pid).ppid()
                assert (parent == os.getpid()) == (where == "cuda")
                assert worker.finish().result.finished
        assert launcher._server is not None
    assert not _left_running()
