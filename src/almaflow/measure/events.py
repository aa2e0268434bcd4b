"""The line from the worker to its parent: one JSON object a line, over a pipe of their own.

Results do not travel here but in a file, so that they may have any size and survive the process. A line that
is not one of ours is ignored: converted code may write to any descriptor it finds.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass

PHASES = ("start", "load", "convert", "first call", "warm-up", "measure", "check")
"""What a worker does, in this order."""


class EventWriter:
    """The worker's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        """Take over the descriptor; programs that converted code starts do not inherit it."""
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional only
        self.phase = PHASES[0]

    def enter(self, phase: str) -> None:
        """Tell the parent which phase begins."""
        self.phase = phase
        # One write below PIPE_BUF is atomic, so a line is never torn. Converted code may have closed the
        # descriptor; the work goes on without being reported.
        with contextlib.suppress(OSError):
            os.write(self._descriptor, json.dumps({"phase": phase}).encode() + b"\n")


@dataclass
class EventReader:
    """The parent's end: bytes in, phases out."""

    _rest: bytes = b""

    def feed(self, data: bytes) -> list[str]:
        """The phases that the new bytes complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-4096:]
        return [phase for line in lines if (phase := _phase(line))]


def _phase(line: bytes) -> str | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    phase = event.get("phase") if isinstance(event, dict) else None
    return phase if phase in PHASES else None
