"""A child that is asked line by line: one JSON object a line goes either way.

The child's end is ``records/child_entry.answers_only``.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Self, cast

from almaflow.errors import AlmaflowError
from almaflow.processes.logs import last_line, reason_of
from almaflow.processes.process import end_session, wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ENDING_S = 20.0
"""How long a child that has closed its output may still write why, and one that is told to end may take for it."""


class Conversation:
    """A child process, started by the first question and ended with the block, with all that it has started.

    Args:
        command: What to run.
        log: The file that gets its standard error.
        failed: The beginning of the error, as in "calibrating EAGER".
        environment: Its whole environment.
        directory: Its working directory; by default this one.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        failed: str,
        environment: Mapping[str, str],
        directory: Path | None = None,
    ) -> None:
        """Start nothing yet."""
        self._command, self._log, self._failed = command, log, failed
        self._environment, self._directory = environment, directory
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child."""
        self.end()
        for pipe in (self._process.stdin, self._process.stdout) if self._process else ():
            with suppress(OSError):  # the child has not read all
                cast("IO[bytes]", pipe).close()

    def end(self) -> None:
        """End the child, whatever it does; who waits for its answer is told so."""
        if self._process is not None:
            end_session(self._process, ENDING_S)

    def ask(self, question: Mapping[str, object], timeout_s: float | None = None) -> dict[str, Any]:
        """The one answer to a question.

        Args:
            question: For JSON.
            timeout_s: Seconds to wait for it; None: as long as the child runs.

        Raises:
            AlmaflowError: the child has ended instead, or has said nothing in that time.
        """
        self._tell(question)
        return self._hear(timeout_s)

    def ask_until(self, last: str, question: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        """The answers to a question, up to the one that has the key ``last``.

        Raises:
            AlmaflowError: the child has ended before.
        """
        answer = self.ask(question)
        while last not in answer:
            yield answer
            answer = self._hear(None)

    def _tell(self, question: Mapping[str, object]) -> None:
        if self._process is None:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=self._directory,
                    env=dict(self._environment),
                    start_new_session=True,
                )
        stdin = cast("IO[bytes]", self._process.stdin)
        with suppress(OSError):  # it has ended, which is told where it is heard
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()

    def _hear(self, timeout_s: float | None) -> dict[str, Any]:
        process = cast("subprocess.Popen[bytes]", self._process)
        stdout = cast("IO[bytes]", process.stdout).fileno()
        while b"\n" not in self._unread:
            if not select.select([stdout], [], [], timeout_s)[0]:
                message = f"{self._failed}: no answer within {timeout_s:g} s; it last said: {last_line(self._log)}"
                raise AlmaflowError(message)
            if not (data := os.read(stdout, 65536)):
                message = f"{self._failed}: {reason_of(wait(process, ENDING_S), self._log)}"
                raise AlmaflowError(message)
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer
