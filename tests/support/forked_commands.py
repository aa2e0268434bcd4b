"""Commands that are forked by a process which has imported what they need, with what tests ask of ``subprocess``."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.faults.commands import Zygote

PATIENCE_S = 540.0


@dataclass
class ForkedCommand:
    """A command that runs, as ``subprocess.Popen`` gives it."""

    zygote: Zygote
    pid: int
    stdout: Path
    returncode: int | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """Give the command, which the block waits for."""
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Wait for its end, which comes at once where the block was ended by an error."""
        if error:
            self.kill()
        self.wait()

    def poll(self) -> int | None:
        self.returncode = self.zygote.code(self.pid, 0.0)
        return self.returncode

    def wait(self, timeout: float = PATIENCE_S) -> int:
        self.returncode = self.zygote.code(self.pid, timeout)
        if self.returncode is None:
            self.kill()
            raise subprocess.TimeoutExpired([str(self.pid)], timeout)
        return self.returncode

    def communicate(self, timeout: float = PATIENCE_S) -> tuple[str, None]:
        self.wait(timeout)
        return self.stdout.read_text(encoding="utf-8"), None

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(
    zygote: Zygote, arguments: tuple[str, ...], directory: Path, environment: Mapping[str, str], stderr: Path
) -> ForkedCommand:
    """Start ``almaflow`` with arguments, or ``scripts``; the streams are files, of which the first is a new one."""
    control = Path(tempfile.mkdtemp(prefix="command-", dir=directory.parent))
    stderr.write_bytes(b"")
    request = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "directory": str(directory),
        "stdout": str(control / "stdout"),
        "stderr": str(stderr),
        "faults": None,
        "control": str(control),
    }
    return ForkedCommand(zygote, zygote.fork(request), control / "stdout")
