"""Namespaces without names: each has a first process, ends with it, and with the tests' own, however that ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 60.0


def call_ip(pid: int, *words: str) -> None:
    """Call ip on the network of a process."""
    command = ["nsenter", "--target", str(pid), "--net", "ip", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def first_process(words: Sequence[str], script: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start the first process of namespaces, and wait until it has prepared them."""
    # With the tests' own process its machines end too, however it ends.
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", *words, "--pid", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen(
        [*command, "bash", "-c", script],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # unshare warns of a signal mask, and goes on
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    is_told, _, _ = select.select([process.stdout], [], [], STARTS_WITHIN_S)
    assert is_told, f"namespaces were not made within {STARTS_WITHIN_S:.0f} s"
    assert process.stdout.readline() == "ready\n", "namespaces cannot be made here"
    return process


def child(process: subprocess.Popen[str]) -> int:
    """Return the first process inside, as this machine numbers it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    return int(children.split()[0])


def end(process: subprocess.Popen[str]) -> None:
    """End namespaces, with all that is in them."""
    with suppress(ProcessLookupError, IndexError, FileNotFoundError):
        os.kill(child(process), signal.SIGKILL)
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()  # and so its child
        process.wait(ENDS_WITHIN_S)
    assert process.stdout
    process.stdout.close()
