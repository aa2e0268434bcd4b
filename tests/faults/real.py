"""Runs ``almaflow`` as a shell does, in an interpreter of its own, where a fork of the zygote would not do.

What an interpreter reads as it starts, such as the locale, and what has to be there before it does, such as a namespace
of its own, cannot be given to a fork.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from tests.faults.commands import ENDS_WITHIN_S, Ended
from tests.faults.scenario import NotHereError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.faults.place import Place

PATIENCE_S = 300.0
"""A command that has not ended by then hangs; importing alone takes a minute on a busy machine."""
PROGRAM = Path(sys.executable).with_name("almaflow")


def really(
    place: Place,
    *arguments: str,
    wrapped: Sequence[str] = (),
    shell: str = "",
    environment: Mapping[str, str | None] | None = None,
) -> Ended:
    """Run the installed program to its end.

    Args:
        place: Where, and with which home.
        arguments: Its arguments.
        wrapped: The command that starts it, such as ``unshare``.
        shell: What the shell does before it starts the command.
        environment: Further variables; None takes one away.
    """
    own = place.environment_of_command() | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    given: dict[str, str | None] = {**own, **(environment or {})}
    command = [*wrapped, "sh", "-c", f'{shell}\nexec "$@"', "sh", str(PROGRAM), *arguments]
    out, err = place.root / "really.out", place.root / "really.err"
    began = time.monotonic()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=place.root,
            env={name: value for name, value in given.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = -999
    said, complained = (path.read_text(encoding="utf-8", errors="replace") for path in (out, err))
    left = _left("ALMAFLOW_HOME", str(given["ALMAFLOW_HOME"]))
    return Ended(code, said, complained, time.monotonic() - began, {}, (), left)


def _left(name: str, value: str) -> tuple[str, ...]:
    """Command lines of processes with the variable in their environment that do not end soon; they are ended."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    while (left := _having(name, value)) and time.monotonic() < deadline:
        time.sleep(0.1)
    names = []
    for each in left:
        with suppress(psutil.Error):
            names.append(" ".join(each.cmdline()))
            each.kill()
    return tuple(names)


def _having(name: str, value: str) -> list[psutil.Process]:
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if each.environ().get(name) == value and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def needs(*command: str) -> None:
    """Ask whether this machine lets the command run.

    Raises:
        NotHereError: it does not.
    """
    try:
        done = subprocess.run(command, check=False, capture_output=True)
    except FileNotFoundError as error:
        reason = f"{command[0]} is not installed"
        raise NotHereError(reason) from error
    if done.returncode:
        reason = f"this machine does not let `{' '.join(command)}` run"
        raise NotHereError(reason)
