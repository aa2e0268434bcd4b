"""The directory of a conversion's process: made before it starts, and reduced to what people read when it has ended."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from almaflow.records.export import EXPORT_DIRECTORY, GRAPHS
from almaflow.secrets import mask_file

if TYPE_CHECKING:
    from pathlib import Path


def log_name(replicate: int) -> str:
    """Name the log of a conversion's first process (0), or of a further one."""
    return f"worker-{replicate}.log" if replicate else "worker.log"


def export_of(conversion: Path) -> Path:
    """Name the directory in which the conversion's process has written the converted model, if it was asked to."""
    return conversion / "work" / EXPORT_DIRECTORY


def make_work_directory(conversion: Path) -> Path:
    """Make the directory of a process of the conversion."""
    path = conversion / "work"
    path.mkdir()
    return path


def end_work_directory(conversion: Path, replicate: int) -> None:
    """Keep the log and the graphs of a process that has ended, and remove the rest.

    Raises:
        FileNotFoundError: somebody has removed the conversion's directory, so that the process could not work.
    """
    if not conversion.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(conversion))
    with suppress(FileNotFoundError):  # interrupted before it began, or converted code tidied up its directory
        log = (conversion / "work" / "worker.log").replace(conversion / log_name(replicate))
        mask_file(log)  # it becomes an artifact
    with suppress(FileNotFoundError):  # only where graphs were asked for
        mask_file((conversion / "work" / GRAPHS).replace(conversion / GRAPHS))
    shutil.rmtree(conversion / "work", ignore_errors=True)
