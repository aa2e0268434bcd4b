"""The machine's own trouble, such as a full disk: it says nothing about a conversion, and is over once it is mended.

It is known by an error number, which a worker that cannot write its result any more hands on by its exit code.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ADVICE = MappingProxyType(
    {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space, or have the quota raised",
        errno.EROFS: "make the file system writable",
        errno.EIO: "look at the disk",
        errno.ENFILE: "end other programs",
        errno.EMFILE: "raise the limit of open files (ulimit -n)",
        errno.EAGAIN: "end other programs, or raise the limit of processes (ulimit -u)",
        errno.ENOENT: "keep the job's directory while the job runs",
        errno.ECHILD: "see what killed it",
    }
)
"""What to do, by error number."""

TEXTS = MappingProxyType(
    {
        **{os.strerror(number).lower(): number for number in list(ADVICE)[:7]},
        "can't start new thread": errno.EAGAIN,  # Python
    }
)
"""What libraries print of an error number, in lower case. "No such file" is not there: mostly it is no trouble of the
machine's. The text of ENFILE begins with that of EMFILE and comes first."""

CUT = re.compile(r"\d+ requested and \d+ written|unexpected pos \d+ vs \d+")
"""What NumPy and PyTorch say of a file of which the disk took only a part; they do not tell the error number."""

FULL_BYTES = 4096
"""Free space below which a disk is full: not one block is left."""

FIRST_CODE = 200
"""Exit code of a worker that ends for the first of the error numbers; no shell and no signal has it or those after."""


def number_in(text: str) -> int | None:
    """Return the error number that a text tells; None where it tells none of the machine's."""
    lower = text.lower()
    cut = errno.ENOSPC if CUT.search(lower) else None
    return next((number for told, number in TEXTS.items() if told in lower), cut)


def disk_is_full(directory: Path) -> bool:
    """Whether the disk of a directory, or that of temporary files, is full: many a library then says something else."""
    for place in (directory, tempfile.gettempdir()):
        with suppress(OSError):
            if shutil.disk_usage(place).free < FULL_BYTES:
                return True
    return False


def exit_code(number: int | None) -> int:
    """Return the exit code for an error number; 1 where that is no trouble of the machine's."""
    return {known: code for code, known in enumerate(ADVICE, start=FIRST_CODE)}.get(number or 0, 1)


def number_of(code: int) -> int | None:
    """Return the error number of an exit code; None where ``exit_code`` did not make it."""
    return dict(enumerate(ADVICE, start=FIRST_CODE)).get(code)


def advised(told: str, number: int | None) -> str:
    """Put what to do behind what happened, in one line."""
    advice = ADVICE.get(number or 0)
    return f"{told}; {advice} and go on with resume=true" if advice else told
