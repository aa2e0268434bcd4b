"""Brings files to the disk, so that they outlast a power failure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from almaflow.records import write_json


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
    """Unpack the archive of a job's directory and bring it to the disk; names that lead out of it are left out."""
    shutil.unpack_archive(archive, into, "zip")
    sync_tree(into)


def sync_tree(root: Path) -> None:
    """Bring every file below a directory to the disk."""
    for directory, _, names in os.walk(root):
        for name in names:
            with Path(directory, name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_directory(Path(directory))


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
