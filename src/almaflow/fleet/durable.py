"""Brings files to the disk, so that they outlast a power failure."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from almaflow.errors import AlmaflowError
from almaflow.records import write_json
from almaflow.secrets import PRIVATE


def write_new(path: Path, record: object) -> None:
    """Write a record whole, but only where there is none yet.

    Raises:
        FileExistsError: there is one.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_json(part, record)
    try:
        os.link(part, path)
    finally:
        part.unlink()


def unpack(archive: Path, into: Path) -> None:
    """Unpack the archive of a job's directory and bring it to the disk.

    Raises:
        AlmaflowError: it is no whole archive, or a name in it leads out of the directory.
    """
    try:
        with zipfile.ZipFile(archive) as files:
            for name in files.namelist():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
                    message = f"what came from the machine is not taken: {name!r} in it leads elsewhere"
                    raise AlmaflowError(message)
            into.mkdir(PRIVATE, parents=True, exist_ok=True)
            files.extractall(into)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        message = f"what came from the machine is no whole archive ({error})"
        raise AlmaflowError(message) from error
    sync_tree(into)


def sync_tree(root: Path) -> None:
    """Bring every file below a directory to the disk."""
    for directory, _, names in os.walk(root):
        for path in (Path(directory, name) for name in names):
            if path.is_file():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
        sync_directory(Path(directory))


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
