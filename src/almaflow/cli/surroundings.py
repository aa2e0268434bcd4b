"""The surroundings of a command: its home and its directory, and an interpreter that was told to raise warnings."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
"""Error numbers of a directory that cannot be made or written."""


@contextmanager
def writable_home() -> Iterator[None]:
    """Let a home that cannot be written be an error of one line.

    Raises:
        AlmaflowError: the block cannot write almaflow's home, or cannot make it.
    """
    try:
        yield
    except OSError as error:
        if not _at_home(error):
            raise
        what = f"{error.filename} cannot be written ({error.strerror})"
        message = f"{what}: let ALMAFLOW_HOME name a directory that can be written"
        raise AlmaflowError(message) from error


@contextmanager
def existing_directory() -> Iterator[None]:
    """Let a working directory that has been removed be an error of one line.

    Raises:
        AlmaflowError: the block asks for the working directory, which is not there.
    """
    try:
        yield
    except FileNotFoundError as error:
        if error.filename is not None or _directory_is_there():
            raise
        message = "the directory in which this was started has been removed: change to another one, as by `cd`"
        raise AlmaflowError(message) from error


def _directory_is_there() -> bool:
    with suppress(FileNotFoundError):
        return bool(Path.cwd())
    return False


def _at_home(error: OSError) -> bool:
    from almaflow.machine import home

    if error.errno not in NOT_WRITABLE or not isinstance(error.filename, str):
        return False
    place = Path(error.filename)
    return place.is_relative_to(home()) or home().is_relative_to(place)


def show_warnings() -> None:
    """Show warnings that the interpreter was told to raise, here and in child processes.

    Libraries warn of what they will change one day, and none of them imports where that is raised.
    """
    others = [option for option in sys.warnoptions if option.partition(":")[0] != "error"]
    if others != sys.warnoptions:
        warnings.simplefilter("default")
        os.environ["PYTHONWARNINGS"] = ",".join(others)
