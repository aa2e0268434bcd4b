"""The child's end of both ways to run one: questions come on standard input, answers go to standard output, as JSON.

The parent's ends are ``processes/one_shot.py`` and ``processes/conversation.py``.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, NoReturn

from almaflow.records.protocol import BAD_INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def answers_only() -> Iterator[Callable[[object], None]]:
    """Keep standard output for answers: what anything else prints there, C code too, goes to standard error.

    Yields a function that writes one answer as a line of JSON. Standard output is not given back afterwards, since
    what libraries have buffered by then would come behind the last answer.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream:
        os.dup2(2, 1)

        def answer(value: object) -> None:
            stream.write(json.dumps(value) + "\n")
            stream.flush()

        with redirect_stdout(sys.stderr):  # its buffer, or what was printed first would come after the traceback
            yield answer


def answer_once(work: Callable[[Any], object], bad_input: type[Exception] | tuple[()] = ()) -> NoReturn:
    """Answer the one question on standard input, and end this process.

    Args:
        work: Makes the answer of the question. It finds modules where the parent finds them, too.
        bad_input: An error of the work that becomes one line on standard error and the exit code ``BAD_INPUT``.
    """
    code = 0
    with answers_only() as answer:
        asked = json.loads(sys.stdin.read())
        sys.path += [path for path in asked["sys_path"] if path not in sys.path]
        try:
            answer(work(asked["question"]))
        except bad_input as error:
            sys.stderr.write(f"\n{error}\n")  # on a line of its own, whatever a library has begun there
            code = BAD_INPUT
    sys.stderr.flush()
    os._exit(code)  # converted code likes to crash as it is taken down
