"""The messages between a worker and its parent: one JSON object a line.

The worker sends its phases and a short report of each round over a pipe of their own. Results do not travel here but in
a file, so that they may have any size and survive the process. A line that is not one of ours is ignored: converted
code may write to any descriptor it finds. The parent sends over the worker's standard input when to take the next
round, and how long.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from almaflow.records import MeasureSpec


KEEPING = "keep"
"""The phase in which a worker writes its converted model. All is measured by then, whatever becomes of it."""

EVALUATE = "evaluate"
"""The phase after which nothing is timed: what happens there does not spoil the measurement."""

SHOWING = "graphs"
"""The phase in which a worker writes its graphs for people. It is the last one, whatever becomes of it."""

PHASES = (
    "start", "load", "convert", "first call", "check", "prepared", "warm-up", "measure", "ready",
    KEEPING, EVALUATE, SHOWING,
)  # fmt: skip
"""Phases of a worker, in this order. In ``prepared`` it waits for its first turn, in ``ready`` for the next one."""

PREPARING = PHASES[: PHASES.index("prepared")]
"""Phases that other workers may have at the same time."""


@dataclass(frozen=True)
class RoundRequest:
    """A round to take. It ends with the call that reaches both minima, or the maximum."""

    index: int
    min_calls: int
    min_time_s: float
    max_time_s: float


@dataclass(frozen=True)
class RoundReport:
    """The figures of a round by which the parent decides about the next one."""

    count: int
    median_ms: float
    wall_s: float


@dataclass(frozen=True)
class Event:
    """The beginning of a phase. ``ready`` may carry the report of the round that was just taken."""

    phase: str
    report: RoundReport | None = None


class EventWriter:
    """The worker's end of the pipe, a descriptor that the programs started by converted code do not inherit."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional only
        self.phase = PHASES[0]

    def enter(self, phase: str, report: RoundReport | None = None) -> None:
        """Tell the parent which phase begins."""
        self.phase = phase
        event = {"phase": phase} | ({"report": asdict(report)} if report else {})
        # One write below PIPE_BUF is atomic, so a line is never torn. Converted code may have closed the
        # descriptor; the work goes on without being reported.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, json.dumps(event).encode() + b"\n")


@dataclass
class EventReader:
    """The parent's end of the pipe, which turns bytes into events."""

    _rest: bytes = b""

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that the new bytes complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-4096:]
        return [event for line in lines if (event := _event(line))]


def _event(line: bytes) -> Event | None:
    message = _object(line)
    phase = message.get("phase")
    if phase not in PHASES:
        return None
    report: Any = message.get("report")
    with contextlib.suppress(TypeError, ValueError, KeyError, OverflowError):
        return Event(phase, RoundReport(int(report["count"]), float(report["median_ms"]), float(report["wall_s"])))
    return Event(phase)


def request_line(turn: RoundRequest | None, *, keep: bool = False) -> bytes:
    """Write the line for a worker's standard input that asks for a turn, or with None to finish.

    Args:
        turn: The round to take.
        keep: Whether a worker that is to finish writes its converted model before.
    """
    return json.dumps(asdict(turn) if turn else {"finish": True, "keep": keep}).encode() + b"\n"


def read_request(line: bytes) -> RoundRequest | None:
    """Read a line that ``request_line`` wrote; None where it asks to finish."""
    message = _object(line)
    return None if message.get("finish") else RoundRequest(**message)


def asks_to_keep(line: bytes) -> bool:
    """Whether a line asks a worker to write its converted model before it ends."""
    return bool(_object(line).get("keep"))


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


BAD_INPUT = 2
"""Exit code of a child whose last line on standard error says what the caller has to mend."""

MESSAGE_BYTES = 65536
"""Most bytes of one message between the server that forks workers and its parent."""

MINIMUM_ROUNDS = 9
"""A 95% interval needs six independent rounds; nine leave room for some that are alike, and tell whether they are."""


FEWEST_CALLS = 3
"""Fewest calls whose median leaves out one that was disturbed."""

SHORT = 3
"""How many times shorter a round is of a worker that needs no more."""


def round_request(spec: MeasureSpec, index: int, *, short: bool = False) -> RoundRequest:
    """Ask for one of ``MINIMUM_ROUNDS`` equal parts of the samples and times of the spec.

    Args:
        spec: The settings of the job.
        index: The number of the round.
        short: Whether the worker has all that was asked for, and takes part for the others' sake: then a part of that,
            and not fewer than ``FEWEST_CALLS`` where a whole one has so many.
    """
    calls = ceil(spec.min_samples / MINIMUM_ROUNDS)
    return RoundRequest(
        index=index,
        min_calls=max(ceil(calls / SHORT), min(calls, FEWEST_CALLS)) if short else calls,
        min_time_s=spec.min_time_s / MINIMUM_ROUNDS / (SHORT if short else 1),
        max_time_s=spec.max_time_s / MINIMUM_ROUNDS,
    )
