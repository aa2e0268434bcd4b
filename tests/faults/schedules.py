"""Random schedules of commands and faults: after each step an independent count, and at the end all has to go on.

The jobs are real, with real workers; the model is a small one that sleeps. ``python -m tests.faults.schedules STEPS``
repeats a schedule that was printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.faults.commands import PATIENCE_S, Zygote, make_store
from tests.faults.count import Count
from tests.faults.inject import Fault
from tests.faults.place import SLEEPS_MS, Place
from tests.faults.scenario import ended_with, holds, resumed
from tests.faults.scenarios.records import DAMAGES

if TYPE_CHECKING:
    from tests.faults.commands import MlflowServer
    from tests.faults.count import Result

FULL = 28
MOMENTS_MS = 2500
"""A command takes about so long: signals that come at any moment come within it."""
MOST = 100
"""The greatest exit code, which is the number of schedules that do not hold."""
KILLS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
AT = (
    "before reference run", "after job opened", "before round", "after outcome written", "before job written",
    "before create run", "after create run", "before log batch", "before log artifacts", "before end run",
    "before summary written", "after job closed", "before catch up", "after delete run",
)  # fmt: skip


class Schedule:
    """Steps in one place; each is a method whose arguments are JSON."""

    def __init__(self, zygote: Zygote, root: Path, template: Path) -> None:
        self.place = Place(zygote, root, template)
        self.server: MlflowServer | None = None
        self.on = True
        self.steps: list[list[Any]] = []
        self.excused: set[tuple[str, str, int]] = set()
        """What somebody took out of the store, by hand or with an older copy."""
        self.measured: set[tuple[str, str, int]] = set()
        """Every result that was on disk after some step, and counted."""

    def do(self, name: str, *arguments: Any) -> None:
        """Take a step; whatever does not hold is told with all steps up to here."""
        self.steps.append([name, *arguments])
        try:
            getattr(self, name)(*arguments)
            self._count()
        except AssertionError as error:
            message = f"{error}\nrepeat it: python -m tests.faults.schedules '{json.dumps(self.steps)}'"
            raise AssertionError(message) from error

    def _count(self) -> None:
        """Check that nothing is wrong, and that whatever was measured is still on disk or in the store."""
        count = holds(self.place)
        there = {each.key for each in count.on_disk} | {run.key for run in count.conversions}
        assert not (lost := self.measured - there - self.excused), f"lost, on disk and in the store: {sorted(lost)}"
        self.measured |= {each.key for each in count.on_disk if each.ok}

    @property
    def uri(self) -> tuple[str, ...]:
        return (f"tracking.uri={self.server.uri}",) if self.server else ()

    def serve(self) -> None:
        """From now on the store is behind MLflow's server."""
        self.server = self.place.server()
        self.server.start()

    def run(self) -> None:
        ended_with(self.place.run(*self.uri), 0)

    def resume(self) -> None:
        if self.on:
            resumed(self.place, *self.uri)
        else:
            ended_with(self.place.resume(*self.uri), 0, 1)

    def broken(self, resume: bool, name: str, at: str, nth: int) -> None:
        """A command that a signal ends, if it gets as far as this point."""
        number = signal.Signals[name]
        more = ("resume=true", *self.uri) if resume else self.uri
        ended = self.place.run(*more, faults=(Fault("signal", at, nth, number=number),))
        refused = (1,) if resume and not self.on else ()
        ended_with(ended, *refused, *((-number,) if number == signal.SIGKILL and ended.fired else (0, 130)))

    def ended(self, command: str, name: str, after_s: float) -> None:
        """A command that a signal ends at any moment, unless it has ended by then."""
        number = signal.Signals[name]
        fault = Fault("signal later", "start", number=number, seconds=after_s)
        arguments = {
            "run": self.place.measuring(*self.uri),
            "resume": self.place.measuring("resume=true", *self.uri),
            "sync": ("sync", *self.of_server),
        }
        refused = (1,) if command != "run" and not self.on else ()
        ended_with(self.place.almaflow(*arguments[command], faults=(fault,)), *refused, 0, 130, -number)

    def beside(self, first: str, second: str, name: str, at: str, nth: int) -> None:
        """Two commands at a time, of which a signal ends the first at this point if it gets there."""
        number = signal.Signals[name]
        arguments = {"resume": self.place.measuring("resume=true", *self.uri), "sync": ("sync", *self.of_server)}
        fault = Fault("signal", at, nth, number=number)
        commands = [self.place.start(*arguments[first], faults=(fault,)), self.place.start(*arguments[second])]
        self.place.zygote.beside |= {each.pid for each in commands}
        for each in commands:
            assert self.place.zygote.code(each.pid, PATIENCE_S) is not None, f"it hangs: {each.text('stderr')}"
        self.place.zygote.beside -= {each.pid for each in commands}
        ended_with(commands[0].end(), 0, 1, 130, -number)  # 1: the other one has the job in hand, or nothing answers
        ended_with(commands[1].end(), 0, 1)

    def full(self, nth: int) -> None:
        """A command that meets a full disk."""
        ended_with(
            self.place.run(*self.uri, faults=(Fault("raise", "before record written", nth, 0, number=FULL),)), 0, 1
        )

    def worker_killed(self, nth: int) -> None:
        """A command whose workers are killed in the middle."""
        ended_with(self.place.run(*self.uri, faults=(Fault("signal", "before round", nth, to="server"),)), 0, 1)

    @property
    def of_server(self) -> tuple[str, ...]:
        return ("--uri", self.server.uri) if self.server else ()

    def sync(self) -> None:
        ended = ended_with(self.place.sync(*self.of_server), 0 if self.on else 1)
        if ended.code == 0:
            wrong = Count.of(self.place.home, self.place.store).after_sync(self.excused)
            assert not wrong, wrong

    def delete(self, kind: str, which: int) -> None:
        """Somebody deletes a run in MLflow's pages; it stays deleted, and a job without any run stays so too."""
        runs = [run for run in holds(self.place).in_store if run.active and run.kind in {"job", "conversion"}]
        found = sorted((run for run in runs if run.kind == kind), key=lambda run: run.run_id)
        if not found:
            return
        chosen = found[which % len(found)]
        with closing(sqlite3.connect(self.place.database, timeout=30)) as store:
            store.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = ?", (chosen.run_id,))
            store.commit()
        job = chosen.key[0]
        alone = all(run.key[0] != job for run in runs if run is not chosen)
        self.excused |= {each.key for each in self._kept() if each.job == job and (alone or each.key == chosen.key)}

    def back_up(self) -> None:
        self.place.copy_store()

    def restore(self) -> None:
        """Somebody puts an earlier copy of the store in its place."""
        if (self.place.root / "backup.db").exists():
            self._excuse()
            if self.server and self.on:
                self.server.stop()
            self.place.restore_store()
            if self.server and self.on:
                self.server.start()

    def _excuse(self) -> None:
        self.excused |= {each.key for each in self._kept() if not each.waits}

    def _kept(self) -> tuple[Result, ...]:
        return holds(self.place).on_disk

    def edit(self, version: int) -> None:
        self.place.edit(version)

    def damage(self, name: str, how: str, which: int) -> None:
        """A record is damaged while ``sync`` runs, and mended afterwards."""
        found = sorted(self.place.home.glob(f"jobs/*/{name}")) or sorted(self.place.home.glob(f"jobs/*/*/*/{name}"))
        if not found:
            return
        path = found[which % len(found)]
        content = path.read_bytes()
        DAMAGES[how][0](path)
        ended_with(self.place.sync(*self.of_server), 0, 1)
        path.write_bytes(content)

    def switch(self) -> None:
        """The server goes, or comes back."""
        assert self.server is not None
        self.on = not self.on
        if self.on:
            self.server.start()
        else:
            self.server.stop()

    def go_on(self) -> None:
        """Once all is well again, everything can go on."""
        if not self.on:
            self.switch()
        self.sync()
        self.resume()
        self.sync()

    def end(self) -> None:
        if self.server:
            self.server.stop()
        shutil.rmtree(self.place.root, ignore_errors=True)


class Machine(RuleBasedStateMachine):
    """Lets Hypothesis choose the steps."""

    zygote: ClassVar[Zygote]
    root: ClassVar[Path]
    wanted: ClassVar[int] = 0
    """How many schedules there are to be, where progress is shown."""
    done: ClassVar[int] = 0
    began: ClassVar[float] = 0.0
    failures: ClassVar[list[str]] = []
    """What did not hold, with the schedules' steps: the others are run all the same."""

    def __init__(self) -> None:
        super().__init__()
        template = self.root / "template.db"
        if not template.exists():
            make_store(self.zygote, template)
        self.schedule = Schedule(self.zygote, Path(tempfile.mkdtemp(dir=self.root)), template)
        self.broke = False

    def do(self, name: str, *arguments: Any) -> None:
        if self.broke:
            return
        try:
            self.schedule.do(name, *arguments)
        except AssertionError as error:
            self.broke = True
            self.failures.append(str(error))
            if self.wanted:
                print(f"a schedule does not hold: {error}", flush=True)

    @initialize(served=st.booleans())
    def begin(self, served: bool) -> None:
        if served:
            self.do("serve")

    @rule()
    def run(self) -> None:
        self.do("run")

    @rule()
    def resume(self) -> None:
        self.do("resume")

    @rule(again=st.booleans(), number=st.sampled_from(KILLS), at=st.sampled_from(AT), nth=st.integers(1, 6))
    def broken(self, again: bool, number: str, at: str, nth: int) -> None:
        self.do("broken", again, number, at, nth)

    @rule(nth=st.integers(2, 14))
    def full(self, nth: int) -> None:
        self.do("full", nth)

    @rule(nth=st.integers(1, 20))
    def worker_killed(self, nth: int) -> None:
        self.do("worker_killed", nth)

    @rule()
    def sync(self) -> None:
        self.do("sync")

    @rule(kind=st.sampled_from(("job", "conversion")), which=st.integers(0, 3))
    def delete(self, kind: str, which: int) -> None:
        self.do("delete", kind, which)

    @rule()
    def back_up(self) -> None:
        self.do("back_up")

    @precondition(lambda self: (self.schedule.place.root / "backup.db").exists())
    @rule()
    def restore(self) -> None:
        self.do("restore")

    @rule(version=st.sampled_from(sorted(SLEEPS_MS)))
    def edit(self, version: int) -> None:
        self.do("edit", version)

    @precondition(lambda self: bool(self.schedule.place.jobs))
    @rule(
        name=st.sampled_from(("job.json", "outcome.json")),
        how=st.sampled_from(sorted(DAMAGES)),
        which=st.integers(0, 3),
    )
    def damage(self, name: str, how: str, which: int) -> None:
        self.do("damage", name, how, which)

    @precondition(lambda self: self.schedule.server is not None)
    @rule()
    def switch(self) -> None:
        self.do("switch")

    @invariant()
    def nothing_is_left(self) -> None:
        kept = list(self.schedule.place.root.glob("control-*"))
        assert not kept, kept

    def teardown(self) -> None:
        try:
            if self.schedule.steps:
                self.do("go_on")
        finally:
            self.schedule.end()
            type(self).done += 1
            self._show()

    def _show(self) -> None:
        if self.wanted:
            rate = self.done / max(time.monotonic() - self.began, 1e-9)
            left = max(0, self.wanted - self.done) / rate
            print(
                f"{self.done} of {self.wanted} schedules, {60 * rate:.1f} a minute, {left / 60:.0f} min left",
                flush=True,
            )


def run_schedules(
    zygote: Zygote, root: Path, count: int, *, steps: int = 5, number: int = 0, show: bool = False
) -> list[str]:
    """Run this many schedules, and give what did not hold, each with the steps that repeat it.

    Args:
        zygote: Forks the commands.
        root: Where the places of the schedules are made.
        count: How many schedules.
        steps: The most steps that each has, before all is to go on.
        number: Chooses which: the same number gives the same schedules.
        show: Whether to print how far it is.
    """
    failures: list[str] = []
    facts = {"zygote": zygote, "root": root, "wanted": count if show else 0, "began": time.monotonic()}
    kind = seed(number)(type("Schedules", (Machine,), {**facts, "failures": failures}))
    chosen = settings(
        max_examples=count,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=(Phase.generate,),  # a schedule takes seconds: to shrink one would take an hour
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(kind, settings=chosen)
    return failures


def run_in_processes(count: int, *, number: int, processes: int) -> int:
    """Run this many schedules in several processes at a time, and give the number of those that do not hold."""
    shares = [count // processes + (each < count % processes) for each in range(processes)]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, "--count", str(share), "--seed", str(number + each)], env=dict(os.environ)
        )
        for each, share in enumerate(shares)
        if share
    ]
    return sum(each.wait() for each in started)


def repeat(zygote: Zygote, root: Path, template: Path, steps: list[list[Any]]) -> None:
    """Take the steps of a schedule again."""
    schedule = Schedule(zygote, root, template)
    try:
        for name, *arguments in steps:
            schedule.do(name, *arguments)
    finally:
        schedule.end()


def main(steps: str | None, count: int, number: int) -> int:
    """Repeat one schedule, or run many; gives the number of those that do not hold."""
    with tempfile.TemporaryDirectory(prefix="almaflow-faults-") as directory, Zygote.start() as zygote:
        root = Path(directory)
        make_store(zygote, root / "template.db")
        if steps is None:
            return min(len(run_schedules(zygote, root, count, number=number, show=True)), MOST)
        repeat(zygote, root / "place", root / "template.db", json.loads(steps))
    print("it holds")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", nargs="?", help="the steps of a schedule that was printed, as JSON")
    parser.add_argument("--count", type=int, default=10, help="how many random schedules")
    parser.add_argument("--seed", type=int, default=0, help="which: the same seed gives the same schedules")
    given = parser.parse_args()
    sys.exit(main(given.steps, given.count, given.seed))
