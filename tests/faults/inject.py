"""Injects faults into a process that was forked for one command, and into its workers, which are forks of it."""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
from tests.faults.points import COMMAND, POINTS, WORKER, Point

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HELD_FOR_S = 240.0
"""A held process goes on after this time, should whoever holds it be gone."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and when."""

    do: str
    """A name in ``ACTIONS``."""
    at: str
    """``before`` or ``after``, and a name in ``POINTS``; or ``start``, before the command begins."""
    nth: int = 1
    """The call that it comes at, from 1 on."""
    calls: int = 1
    """How many calls in a row it comes at; 0: all from then on."""
    conversion: str | None = None
    """In which worker, by the conversion's name; None: in any."""
    process: int = 0
    """In which of the conversion's processes, from 1 on; 0: in any."""
    to: str = "command"
    """Who gets a signal: ``command``, ``server``, ``workers``, ``tree``, or ``self``, where the fault comes."""
    number: int = signal.SIGKILL
    """The signal, or the error number."""
    seconds: float = 0.0
    """For how long, by how much the clock is wrong, or how long after the point; 0 for ever, or at once."""
    target: str = ""
    """A function, ``module:function``: one to call, or one that a product which is wrong on purpose has lost."""
    arguments: tuple[Any, ...] = ()
    """What the function is called with."""

    def __post_init__(self) -> None:
        """Refuse a point that is none: the fault would never come."""
        when, _, point = self.at.partition(" ")
        assert self.at == "start" or (when in {"before", "after"} and point in POINTS), self.at

    def __str__(self) -> str:
        """Describe it in a few words, as a schedule's steps show it."""
        what = self.do
        if self.do in {"signal", "signal later"}:
            what = f"{signal.Signals(self.number).name} to the {self.to}"
        elif self.do == "raise":
            what = f"{errno.errorcode.get(self.number, '?')} raised"
        later = f"{self.seconds:g} s after " if self.do == "signal later" else ""
        return f"{what} {later}{self.at} (call {self.nth})"


@dataclass
class Injection:
    """The faults of one command; every fork has a copy, and knows what kind of process it is."""

    faults: tuple[Fault, ...]
    directory: Path
    """Where the processes say what they reached, and wait when they are held."""
    role: str = COMMAND
    conversion: str = ""
    process: int = 0
    """Which of its conversion's processes a worker is, from 1 on."""
    counts: Counter[str] = field(default_factory=Counter)

    def arm(self) -> None:
        """Put a watch on every point."""
        self.note("pids", f"command {os.getpid()}")
        by_target: dict[str, list[str]] = {}
        for name, point in POINTS.items():
            by_target.setdefault(point.target, []).append(name)
        for names in by_target.values():
            owner, attribute, original = POINTS[names[0]].find()
            watched = self._watched(original, names)
            setattr(owner, attribute, watched)
            for module in list(sys.modules.values()):  # who imported the function by its name
                if getattr(module, "__name__", "").startswith("almaflow"):
                    for key in [key for key, value in vars(module).items() if value is original]:
                        setattr(module, key, watched)
        self._strike("start", 1)

    def become(self, role: str, conversion: str = "") -> None:
        """Say what this process is from now on."""
        self.role, self.conversion = role, conversion
        self.counts.clear()
        self.note("pids", f"{role} {os.getpid()} {conversion}")
        lines = (self.directory / "pids").read_text().splitlines()
        self.process = sum(line.split()[2:] == [conversion] for line in lines)

    def note(self, name: str, line: str) -> None:
        """Add a line to a file that all processes of the command write."""
        with suppress(OSError):
            descriptor = os.open(self.directory / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
            os.write(descriptor, f"{line}\n".encode())
            os.close(descriptor)

    def _watched(self, original: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            mine = [name for name in names if POINTS[name].role == self.role]
            for name in mine:
                self.counts[name] += 1
                self.note("reached", f"{name}|{self.counts[name]}")
                self._strike(f"before {name}", self.counts[name])
            numbers = {name: self.counts[name] for name in mine}
            result = original(*args, **kwargs)
            for name, number in numbers.items():
                self._strike(f"after {name}", number)
            return result

        return watched

    def _strike(self, at: str, number: int) -> None:
        for fault in self.faults:
            due = fault.nth <= number and (not fault.calls or number < fault.nth + fault.calls)
            mine = fault.conversion in {None, self.conversion} and fault.process in {0, self.process}
            if fault.at == at and due and mine:
                self.note("fired", f"{fault}")
                ACTIONS[fault.do](self, fault)

    def pids(self, role: str) -> list[int]:
        """The processes of one kind that this command has had."""
        lines = (line.split() for line in (self.directory / "pids").read_text().splitlines())
        return [int(pid) for kind, pid, *_ in lines if kind == role]


def encoded(faults: tuple[Fault, ...]) -> str:
    """Write faults for the process that is to inject them."""
    return json.dumps([asdict(fault) for fault in faults])


def decoded(text: str) -> tuple[Fault, ...]:
    """Read what ``encoded`` wrote."""
    return tuple(Fault(**{**fault, "arguments": tuple(fault["arguments"])}) for fault in json.loads(text))


def _meant(injection: Injection, fault: Fault) -> list[int]:
    """The processes that the fault is for."""
    roles = {"tree": [COMMAND, "server", WORKER], "workers": [WORKER]}.get(fault.to, [fault.to])
    return [os.getpid()] if fault.to == "self" else [pid for role in roles for pid in injection.pids(role)]


def _signal(injection: Injection, fault: Fault) -> None:
    for pid in _meant(injection, fault):
        with suppress(ProcessLookupError):
            os.kill(pid, fault.number)
    if fault.to not in {COMMAND, "self"}:
        time.sleep(0.05)  # its end is not to be missed, nor waited for


def _signal_later(_: Injection, fault: Fault) -> None:
    """Send the signal at a moment that no point names."""
    timer = threading.Timer(fault.seconds, os.kill, (os.getpid(), fault.number))
    timer.daemon = True
    timer.start()


def _raise(_: Injection, fault: Fault) -> None:
    raise OSError(fault.number, os.strerror(fault.number))


def _lose(_: Injection, fault: Fault) -> None:
    message = f"the connection was lost {fault.at}"
    raise ConnectionError(message)


def _interrupt_twice(_: Injection, fault: Fault) -> None:
    for _number in range(2):
        os.kill(os.getpid(), fault.number)


def _abort(_: Injection, __: Fault) -> None:
    os.abort()


def _exit(_: Injection, fault: Fault) -> None:
    os._exit(fault.number)


def _hang(_: Injection, __: Fault) -> None:
    time.sleep(HELD_FOR_S)


def _hold(injection: Injection, _: Fault) -> None:
    """Wait until the one that runs the command says to go on."""
    injection.note("held", str(os.getpid()))
    deadline = time.monotonic() + HELD_FOR_S
    while not (injection.directory / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _suspend(injection: Injection, fault: Fault) -> None:
    """Stop processes for some seconds, as a virtual machine that is paused does; another process wakes them."""
    pids = _meant(injection, fault)
    if os.fork():
        time.sleep(0.05)
        return
    os.setsid()
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(fault.seconds if number is signal.SIGSTOP else 0)
    os._exit(0)


def _turn_clock(_: Injection, fault: Fault) -> None:
    """Set the time of day; a command that starts only then takes it for the time of its own clock."""
    real = time.time
    time.time = lambda: real() + fault.seconds
    if fault.at == "start":
        from almaflow.records import clock

        clock._EPOCH_S += fault.seconds


def _close_descriptors(_: Injection, __: Fault) -> None:
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))


def _lose_session_child(injection: Injection, _: Fault) -> None:
    """Leave a helper in a session of its own that outlives its worker."""
    if os.fork():
        return
    os.setsid()
    injection.note("pids", f"helper {os.getpid()}")
    os.closerange(0, 1024)
    time.sleep(HELD_FOR_S)
    os._exit(0)


def _call(_: Injection, fault: Fault) -> None:
    """Call any function, as the one who starts the command, or converted code, may do."""
    _owner, _name, function = Point(fault.target).find()
    function(*fault.arguments)


def _blind(_: Injection, fault: Fault) -> None:
    """Make the product wrong on purpose: from now on this function finds nothing."""
    owner, name, _original = Point(fault.target).find()
    setattr(owner, name, lambda *_args, **_kwargs: {})


ACTIONS: dict[str, Callable[[Injection, Fault], None]] = {
    "signal": _signal,
    "signal later": _signal_later,
    "raise": _raise,
    "lose": _lose,
    "interrupt twice": _interrupt_twice,
    "abort": _abort,
    "exit": _exit,
    "hang": _hang,
    "hold": _hold,
    "suspend": _suspend,
    "clock": _turn_clock,
    "close": _close_descriptors,
    "helper": _lose_session_child,
    "call": _call,
    "blind": _blind,
}


def children(pid: int) -> list[psutil.Process]:
    """All processes below this one that run."""
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid).children(recursive=True)
        return [each for each in found if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    return []
