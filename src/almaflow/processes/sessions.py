"""Processes that lead sessions of their own: waiting for one, and ending one with everything in its session."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Protocol

import psutil

POLL_INTERVAL_S = 0.02

TOLD_WITHIN_S = 0.2
"""The server of workers tells of a worker's end within this time, unless it imports or is stopped."""


class Process(Protocol):
    """A process that leads a session of its own."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""


def wait(process: Process, timeout_s: float) -> int | None:
    """The exit code, negative for a signal; None where the process still runs after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while (code := process.poll()) is None and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)
    return code


def end_session(process: Process, grace_s: float) -> None:
    """End a process and everything in its session; one that still runs is asked with SIGTERM first."""
    if process.poll() is None:
        _signal_session(process, signal.SIGTERM)
        _wait_for_end(process, grace_s)
    # Compilers' helper processes may outlive the worker.
    _signal_session(process, signal.SIGKILL)
    _wait_for_end(process, grace_s)


def _wait_for_end(process: Process, timeout_s: float) -> None:
    """Wait until a process has ended, also where the one that started it cannot tell of it."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and (left_s := deadline - time.monotonic()) > 0:
        if left_s > TOLD_WITHIN_S and _is_zombie(process.pid):
            deadline = time.monotonic() + TOLD_WITHIN_S
        time.sleep(POLL_INTERVAL_S)


def _is_zombie(pid: int) -> bool:
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return False


def _signal_session(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
