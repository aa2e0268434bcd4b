"""The clock of one call: the time in graphs, and in the Python between them, without what recording takes."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from almaflow.records.profile import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LEAST_SHARE = 0.01
"""Share of a call that PyTorch's search for graphs takes from which on the call is discarded."""


class RunningCall:
    """A call of a decorated function while it runs, in one thread."""

    def __init__(self, number: int, function: str) -> None:
        self.number = number
        self.function = function
        self.concurrent = False
        self._thread = threading.current_thread().name
        self._sequence: list[str] = []
        self._python: list[int] = []
        self._graphs: list[int] = []
        self._hidden = 0
        self._compile = 0
        self._compiled = False
        self._resumed = 0

    def timed(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the function, from the first slot of Python to the last one."""
        self._resumed = time.perf_counter_ns()
        try:
            return function(*args, **kwargs)
        finally:
            self._python.append(time.perf_counter_ns() - self._resumed - self._hidden)

    def add(self, segment_id: str, paused: int, began: int, ended: int) -> None:
        """Add the run of a graph, and begin the next slot of Python.

        Args:
            segment_id: What ran.
            paused: Reading of ``perf_counter_ns`` when Python ended.
            began: The reading just before the graph ran.
            ended: The reading just after.
        """
        self._sequence.append(segment_id)
        self._python.append(paused - self._resumed - self._hidden)
        self._graphs.append(ended - began)
        self._hidden = 0
        self._resumed = time.perf_counter_ns()

    def hide(self, nanoseconds: int, *, compiled: bool) -> None:
        """Leave out the time that PyTorch took to look for graphs."""
        self._hidden += nanoseconds
        self._compile += nanoseconds
        self._compiled |= compiled

    def finished(self, raised: str | None) -> Call:
        """Return the record of the call."""
        total = sum(self._python) + sum(self._graphs)
        return Call(
            number=self.number,
            function=self.function,
            thread=self._thread,
            sequence=tuple(self._sequence),
            python_ms=tuple(each / 1e6 for each in self._python),
            graphs_ms=tuple(each / 1e6 for each in self._graphs),
            compile_ms=self._compile / 1e6,
            compiled=self._compiled or self._compile > LEAST_SHARE * total,
            raised=raised,
            concurrent=self.concurrent,
        )


RUNNING: ContextVar[RunningCall | None] = ContextVar("almaflow_running_call", default=None)
"""The recorded call that this thread is in."""
