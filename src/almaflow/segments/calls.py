"""The calls of a session: which run now, which have ended, and the arguments to repeat the newest ones with."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.segments.clock import RunningCall
from almaflow.segments.summary import function_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from almaflow.records.profile import Call, ProfiledFunction
    from almaflow.segments.accelerate import Accelerated

REPEATABLE = 8
"""Calls of each function whose arguments are kept, by reference: the newest ones."""


@dataclass(frozen=True, eq=False)
class Arguments:
    """What a call was given."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class CallLog:
    """The calls of one session, in whatever thread they run.

    Args:
        write: Keeps the record of a call that has ended.

    Attributes:
        names: The name of each marked function that was called.
        newest: The arguments of the newest calls of each function that ended well.
    """

    def __init__(self, write: Callable[[Call], object]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._open: set[RunningCall] = set()
        self._calls: list[Call] = []
        self._closed = False
        self.names: dict[Accelerated, str] = {}
        self.newest: dict[Accelerated, deque[Arguments]] = defaultdict(lambda: deque(maxlen=REPEATABLE))

    def begin(self, function: Accelerated) -> RunningCall:
        """Begin a call; one that begins while another runs, and that one, are concurrent."""
        with self._lock:
            running = RunningCall(next(self._numbers), self._name(function))
            if self._open:
                for each in (running, *self._open):
                    each.concurrent = True
            self._open.add(running)
        return running

    def _name(self, function: Accelerated) -> str:
        """Return the name of a function, with a number behind it where another one has the same."""
        if function not in self.names:
            same = sum(each.name == function.name for each in self.names)
            self.names[function] = f"{function.name}#{same + 1}" if same else function.name
        return self.names[function]

    def end(self, running: RunningCall, raised: str | None, function: Accelerated, given: Arguments) -> None:
        """Keep a call that has ended, unless the session has."""
        call = running.finished(raised)
        with self._lock:
            self._open.discard(running)
            if self._closed:
                return
            self._calls.append(call)
            if not raised:
                self.newest[function].append(given)
            self._write(call)

    def close(self) -> int:
        """Take in no further call; return how many run still."""
        with self._lock:
            self._closed = True
            return len(self._open)

    def ended(self) -> list[Call]:
        """Return the calls that have ended, in the order in which they began."""
        return sorted(self._calls, key=lambda call: call.number)

    def functions(self) -> tuple[ProfiledFunction, ...]:
        """Return the functions that were called."""
        calls = self.ended()
        return tuple(
            function_of(name, each.file, each.line, [call for call in calls if call.function == name])
            for each, name in self.names.items()
        )
