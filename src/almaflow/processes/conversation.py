"""A child that is asked line by line: one JSON object a line goes either way.

The child's end is ``records/child_entry.answers_only``.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import IO, TYPE_CHECKING, Any, Self, cast

from almaflow.errors import AlmaflowError
from almaflow.processes.logs import BoundedLog, last_line, reason_of
from almaflow.processes.sessions import end_session, wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ENDING_S = 20.0
"""How long a child that has closed its output may still write why, and one that is told to end may take for it."""


@dataclass(eq=False)
class Conversation:
    """A child process, started by the first question and ended with the block, with all that it has started."""

    command: Sequence[str]
    log: Path
    """The file that gets its standard error."""
    failed: str
    """The beginning of the error, as in "calibrating EAGER"."""
    environment: Mapping[str, str]
    directory: Path | None = None
    """The child's working directory; by default the caller's."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _log: BoundedLog | None = field(default=None, init=False)
    _unread: bytes = field(default=b"", init=False)

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child."""
        self.end()
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            with suppress(OSError):  # the child has not read all
                cast("IO[bytes]", pipe).close()
        if self._log:
            self._log.close()

    def end(self) -> None:
        """End the child, whatever it does; a thread that waits for its answer is told so."""
        if self._process is not None:
            end_session(self._process, ENDING_S)

    def ask(self, question: Mapping[str, object], timeout_s: float | None = None) -> dict[str, Any]:
        """The one answer to a question, waited for as long as the child runs, or so many seconds.

        Raises:
            AlmaflowError: the child has ended instead, or has said nothing in that time.
        """
        return next(self._answers(question, timeout_s))

    def ask_until(self, last: str, question: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        """The answers to a question, up to the one that has the key ``last``.

        Raises:
            AlmaflowError: the child has ended before.
        """
        return takewhile(lambda answer: last not in answer, self._answers(question, None))

    def _answers(self, question: Mapping[str, object], timeout_s: float | None) -> Iterator[dict[str, Any]]:
        if self._process is None:
            self._log = BoundedLog(self.log)
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log.descriptor,
                cwd=self.directory, env=dict(self.environment), start_new_session=True,
            )  # fmt: skip
        stdin = cast("IO[bytes]", self._process.stdin)
        with suppress(OSError):  # it has ended, which is told where its output is read
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
        while True:
            yield json.loads(self._line(self._process, timeout_s))
            if self._log:
                self._log.trim()

    def _line(self, process: subprocess.Popen[bytes], timeout_s: float | None) -> bytes:
        stdout = cast("IO[bytes]", process.stdout).fileno()
        while b"\n" not in self._unread:
            if timeout_s is not None and not select.select([stdout], [], [], timeout_s)[0]:
                message = f"{self.failed}: no answer within {timeout_s:g} s; it last said: {last_line(self.log)}"
                raise AlmaflowError(message)
            if not (data := os.read(stdout, 65536)):
                message = f"{self.failed}: {reason_of(wait(process, ENDING_S), self.log)}"
                raise AlmaflowError(message)
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line
