"""A worker that the clean server forks is what a fresh interpreter would be, but for what was imported before."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import misbehaving_workers
from tests.support.example_jobs import planned
from tests.support.misbehaving_launch import TESTS, gone, pids, runs

from almaflow.errors import AlmaflowError
from almaflow.processes import process, sessions
from almaflow.processes.process import Forked, Server
from almaflow.records import HardwareSpec, MeasureSpec, ModelSpec, WorkerTask, write_json
from almaflow.records.protocol import EventReader, RoundRequest, request_line
from almaflow.records.trouble import exit_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

EVERY_CPU = sorted(os.sched_getaffinity(0))


@dataclass
class Started:
    """A worker, and the parent's ends of its descriptors."""

    directory: Path
    events: int
    turns: int
    inodes: list[int]
    """Of its standard input and its log."""
    worker: Forked = field(init=False)

    def code(self) -> int | None:
        return sessions.wait(self.worker, 20.0)

    def facts(self) -> dict[str, Any]:
        assert self.code() == 0, (self.directory / "log").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads((self.directory / misbehaving_workers.FACTS).read_text(encoding="utf-8"))
        return found

    def tell(self, turn: RoundRequest | None) -> None:
        os.write(self.turns, request_line(turn))

    def hear(self) -> list[str]:
        """The phases it has told since the last time, of which there must be some."""
        return [event.phase for event in EventReader().feed(os.read(self.events, 65536))]


@dataclass
class Office:
    """Starts servers, and workers by them, in the test's directory."""

    root: Path
    environment: dict[str, str]
    _servers: list[Server]
    _ends: list[int]

    def server(self, cpus: Sequence[int] | None = None, modules: Sequence[str] = ()) -> Server:
        server = Server(self.environment, cpus, modules, self.root / "server.log")
        self._servers.append(server)
        return server

    def start(self, server: Server, function: str, *arguments: Any, **settings: Any) -> Started:
        started = self.ask(server, function, *arguments, **settings)
        started.worker = server.started()
        return started

    def ask(
        self,
        server: Server,
        function: str,
        environment: Mapping[str, str] | None = None,
        kwargs: dict[str, Any] | None = None,
        *,
        name: str = "work",
        converts: bool = False,
        early: bool = False,
        cpus: tuple[int, ...] | None = None,
    ) -> Started:
        """Ask for a worker, without waiting until it runs."""
        directory = self.root / name
        directory.mkdir()
        task = WorkerTask(
            model=ModelSpec("misbehaving", target=f"misbehaving_workers.{function}", kwargs=dict(kwargs or {})),
            hardware=HardwareSpec("here", "cpu", threads=1, cpus=cpus),
            measure=MeasureSpec(),
            conversion=planned() if converts else None,
            work_dir=str(directory),
            reference_path="",
            sys_path=(str(TESTS), *sys.path),
        )
        write_json(directory / "task.json", task)
        read_events, write_events = os.pipe()
        read_turns, write_turns = os.pipe()
        with (directory / "log").open("wb") as log:
            inodes = [os.fstat(descriptor).st_ino for descriptor in (read_turns, log.fileno())]
            server.ask(
                directory / "task.json", environment or {}, (read_turns, log.fileno(), write_events), early=early
            )
        os.close(write_events)
        os.close(read_turns)
        self._ends += [read_events, write_turns]
        return Started(directory, read_events, write_turns, inodes)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for descriptor in self._ends:
            os.close(descriptor)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(process, "SERVER_MODULE", "misbehaving_workers")
    search = os.pathsep.join([str(TESTS), str(tmp_path), *filter(None, sys.path)])
    made = Office(tmp_path, {**os.environ, "PYTHONPATH": search, "PYTHONUNBUFFERED": "1"}, [], [])
    yield made
    made.close()


def test_environment_and_directory_are_the_workers_own(office: Office) -> None:
    office.environment |= {"OF_ALL": "1", "CHANGED": "before"}
    server = office.server()
    for name in ("one", "other"):
        given = {"ONLY_" + name.upper(): name, "CHANGED": name}
        facts = office.start(server, "tell", given, name=name).facts()
        assert facts["directory"] == str(office.root / name)
        found = facts["environment"]
        assert found["OF_ALL"] == "1"
        assert found["CHANGED"] == name
        assert [key for key in found if key.startswith("ONLY_")] == ["ONLY_" + name.upper()]


def test_its_descriptors_are_the_given_ones_and_no_others(office: Office) -> None:
    server = office.server()
    office.start(server, "rounds", name="beside", converts=True)
    started = office.start(server, "tell")
    events = os.fstat(started.events).st_ino
    facts = started.facts()
    turns, log = started.inodes
    assert facts["standard"] == [turns, log, log]
    assert facts["open"] == sorted([turns, log, log, events])


def test_it_leads_a_session_of_its_own_and_can_wait_for_children(office: Office) -> None:
    started = office.start(office.server(), "tell")
    facts = started.facts()
    assert facts["pid"] == facts["session"] == started.worker.pid
    assert not facts["child_signal_ignored"]
    assert facts["child_code"] == 7


@pytest.mark.parametrize(
    ("function", "kwargs", "code"),
    [
        ("good", {}, 0),
        ("leave_at_once", {"code": 0}, 0),
        ("leave_at_once", {"code": 77}, 77),
        ("abort", {}, -signal.SIGABRT),
        ("segfault", {}, -signal.SIGSEGV),
    ],
)
def test_exit_codes_and_signals_arrive(office: Office, function: str, kwargs: dict[str, int], code: int) -> None:
    assert office.start(office.server(), function, kwargs=kwargs).code() == code


def test_a_worker_without_a_task_says_so_and_the_server_goes_on(office: Office) -> None:
    server = office.server()
    read_end, write_end = os.pipe()
    with (office.root / "log").open("wb") as log:
        server.ask(office.root / "no_such_task.json", {}, (read_end, log.fileno(), write_end))
        worker = server.started()
    assert sessions.wait(worker, 20.0) == exit_code(errno.ENOENT)
    assert "FileNotFoundError" in (office.root / "log").read_text(encoding="utf-8")
    assert office.start(server, "good").code() == 0
    for descriptor in (read_end, write_end):
        os.close(descriptor)


def test_many_workers_are_alive_at_once_and_each_has_its_own_turns(office: Office) -> None:
    server = office.server()
    workers = [office.start(server, "rounds", name=f"w{index}", converts=True) for index in range(12)]
    assert len({each.worker.pid for each in workers}) == 12
    assert all(each.worker.poll() is None for each in workers)
    for each in workers:
        while "ready" not in each.hear():
            pass
    for each in reversed(workers):
        each.tell(RoundRequest(1, 1, 0.0, 1.0))
        assert each.hear()[0] == "measure"
    ended, others = workers[::2], workers[1::2]
    for each in ended:
        each.tell(None)
    assert [each.code() for each in ended] == [0] * 6
    assert all(each.worker.poll() is None for each in others)
    for each in others:
        os.kill(each.worker.pid, signal.SIGTERM)
    assert [each.code() for each in others] == [-signal.SIGTERM] * 6


def test_ends_that_nobody_has_asked_for_yet_are_not_lost(office: Office) -> None:
    server = office.server()
    workers = [
        office.start(server, "leave_at_once", kwargs={"code": 10 + index}, name=f"w{index}") for index in range(5)
    ]
    assert gone(*(each.worker.pid for each in workers))
    assert [each.code() for each in reversed(workers)] == [14, 13, 12, 11, 10]
    assert workers[0].worker.poll() == 10  # asked again


def test_it_ends_with_all_that_it_started_when_the_socket_closes(office: Office) -> None:
    server = office.server()
    started = office.start(server, "with_helper", name="over")
    assert started.code() == 0
    assert gone(*pids(started.directory))  # at once, not only with the server
    waiting = office.start(server, "rounds", {}, {"trouble": "with_helper", "at": 1}, converts=True)
    waiting.tell(RoundRequest(1, 1, 0.0, 1.0))
    started_by_it = pids(waiting.directory)
    assert all(runs(pid) for pid in started_by_it)
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < process.SERVER_GRACE_S  # it went by itself
    assert server.gone
    assert gone(server._popen.pid, *started_by_it)
    assert waiting.worker.poll() == exit_code(errno.ECHILD)


def test_a_server_that_does_not_heed_the_closing_is_ended(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    (office.root / "imports_for_ever.py").write_text("import time; time.sleep(600)", encoding="utf-8")
    monkeypatch.setattr(process, "SERVER_GRACE_S", 0.2)
    server = office.server(modules=["imports_for_ever"])
    assert not server.gone
    server.close()
    assert server.gone


@pytest.mark.parametrize("known", [True, False])
def test_a_worker_that_runs_while_the_server_imports_ends_at_once_with_its_helpers(office: Office, known: bool) -> None:
    (office.root / "imports_for_ever.py").write_text("import time; time.sleep(600)", encoding="utf-8")
    server = office.server(modules=["threadpoolctl", "imports_for_ever"])
    settings: dict[str, Any] = {"kwargs": {"megabytes": 1}, "early": True}
    started = (office.start if known else office.ask)(server, "helper_eats_memory", **settings)
    running = pids(started.directory)
    began = time.monotonic()
    if known:
        sessions.end_session(started.worker, 20.0)
    server.close()
    assert time.monotonic() - began < 4.0  # a second on a quiet machine
    assert gone(server._popen.pid, *running)


def test_processors_are_bound_before_anything_is_imported(office: Office) -> None:
    code = "import os, pathlib; pathlib.Path('bound.txt').write_text(str(sorted(os.sched_getaffinity(0))))"
    (office.root / "looks_at_cpus.py").write_text(code.replace("bound.txt", str(office.root / "bound.txt")))
    last = EVERY_CPU[-1:]
    facts = office.start(office.server(last, ["looks_at_cpus"]), "tell").facts()
    assert facts["cpus"] == last
    assert (office.root / "bound.txt").read_text() == str(last)
    assert sorted(os.sched_getaffinity(0)) == EVERY_CPU


def test_without_processors_given_all_that_are_allowed_are_used(office: Office) -> None:
    assert office.start(office.server(), "tell").facts()["cpus"] == EVERY_CPU


def test_what_was_imported_once_is_there_in_every_worker(office: Office) -> None:
    imports = office.root / "imports.txt"
    (office.root / "counts_imports.py").write_text(
        f"with open({str(imports)!r}, 'a') as f: f.write('x')", encoding="utf-8"
    )
    server = office.server(modules=["counts_imports"])
    for name in "abc":
        assert "counts_imports" in office.start(server, "tell", name=name).facts()["modules"]
    assert imports.read_text() == "x"


def test_a_worker_that_is_asked_for_early_does_not_wait_for_what_comes_after_the_first_modules(office: Office) -> None:
    told = office.root / "told"
    code = f"import pathlib, time\nwhile not pathlib.Path({str(told)!r}).exists(): time.sleep(0.01)"
    (office.root / "imports_until_told.py").write_text(code, encoding="utf-8")
    server = office.server(modules=["threadpoolctl", "imports_until_told", "pyclbr"])
    early = office.start(server, "tell", early=True, name="early")
    while "ready" not in early.hear() and not (early.directory / "result.json").exists():
        pass
    told.touch()
    server.until_imported()
    found = early.facts()["modules"]
    assert "threadpoolctl" in found
    assert not {"imports_until_told", "pyclbr"} & set(found)
    assert {"imports_until_told", "pyclbr"} <= set(office.start(server, "tell").facts()["modules"])


def test_a_module_that_does_not_import_is_left_to_the_worker(office: Office) -> None:
    (office.root / "breaks.py").write_text("raise ValueError('in vain')", encoding="utf-8")
    (office.root / "comes_after.py").write_text("", encoding="utf-8")
    server = office.server(modules=["no_such_module_anywhere", "breaks", "comes_after"])
    modules = office.start(server, "tell").facts()["modules"]
    assert "comes_after" in modules
    assert "breaks" not in modules


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda office: (office.root / "fatal.py").write_text("import os; os.abort()"), "server.py|fatal|has gone"),
        (lambda office: (office.root / "fatal.py").write_text("raise SystemExit('no way')"), "no way"),
    ],
)
def test_a_server_that_dies_while_it_imports_is_an_error_in_one_line(
    office: Office, spoil: Callable[[Office], object], words: str
) -> None:
    spoil(office)
    server = office.server(modules=["fatal"])
    with pytest.raises(AlmaflowError, match=words) as caught:
        office.start(server, "good")
    assert "\n" not in str(caught.value)
    assert server.gone
