"""Work in a process of its own that answers once: the last line of its standard output, as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from almaflow.errors import AlmaflowError, UsageError
from almaflow.records.protocol import BAD_INPUT

if TYPE_CHECKING:
    from collections.abc import Mapping

REASON_LENGTH = 300


def answer_of(
    module: str,
    *arguments: str,
    failed: str,
    timeout_s: float,
    asked: object = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Run ``python -m MODULE ARGUMENTS``.

    Args:
        module: What to run.
        arguments: For it.
        failed: The beginning of the error, as in "this machine could not be measured".
        timeout_s: Seconds after which it is ended.
        asked: What it gets on standard input, as JSON.
        environment: Its whole environment; by default this one.

    Raises:
        UsageError: it says that its input is wrong.
        AlmaflowError: it failed, or took too long.
    """
    command = [sys.executable, "-m", module, *arguments]
    text = None if asked is None else json.dumps(asked)
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=timeout_s, env=environment
        )
    except subprocess.TimeoutExpired as error:
        message = f"{failed} in {timeout_s:g} s; try it when less else runs"
        raise AlmaflowError(message) from error
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:REASON_LENGTH]
    if done.returncode == BAD_INPUT:
        raise UsageError(last)
    if done.returncode:
        message = f"{failed}: {last}"
        raise AlmaflowError(message)
    return json.loads(done.stdout.splitlines()[-1])
