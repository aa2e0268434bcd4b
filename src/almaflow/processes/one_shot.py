"""A child that answers once: the question is JSON on its standard input, the answer the last line of its output.

The child's end is ``records/child_entry.answer_once``.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.errors import AlmaflowError, UsageError
from almaflow.processes.environment import module_search_path, running
from almaflow.processes.logs import reason_of
from almaflow.records.protocol import BAD_INPUT

if TYPE_CHECKING:
    from collections.abc import Mapping


def answer_of(  # noqa: PLR0913 - all that one child can be given
    module: str,
    question: object,
    *,
    failed: str,
    timeout_s: float,
    late: str = "try it when less else runs",
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Any:
    """Run ``python -m MODULE``, which finds modules where this process does, and wait for its answer.

    Args:
        module: What to run.
        question: Anything that JSON can hold.
        failed: The beginning of the error, as in "this machine could not be measured".
        timeout_s: Seconds after which it is ended.
        late: The advice to the user then.
        environment: Its whole environment; by default this one.
        directory: Its working directory; by default this one.

    Raises:
        UsageError: the child says that its input is wrong.
        AlmaflowError: it failed, or took too long.
    """
    sys_path = (*module_search_path(), str((directory or Path()).absolute()))
    try:
        done = subprocess.run(
            running(module),
            input=json.dumps({"sys_path": sys_path, "question": question}),
            capture_output=True, encoding="utf-8", errors="replace", check=False,
            timeout=timeout_s, env=environment, cwd=directory,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        message = f"{failed}: no answer within {timeout_s:g} s; {late}"
        raise AlmaflowError(message) from error
    reason = reason_of(done.returncode, done.stderr)
    if done.returncode == BAD_INPUT:
        raise UsageError(reason)
    if done.returncode or not done.stdout:
        message = f"{failed}: {reason}"
        raise AlmaflowError(message)
    return json.loads(done.stdout.splitlines()[-1])
