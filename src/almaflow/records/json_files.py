"""Turns records into JSON and back, in files that are never half written."""

from __future__ import annotations

import json
import os
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import cattrs

from almaflow.errors import RecordError
from almaflow.records.distribution import distribution

T = TypeVar("T")

FORM = 1
"""The form of every file that is written from here on. docs/architecture.md says when it is raised.

Files without a number have form 0: almaflow wrote none before form 1.
"""


@cache
def _strict() -> cattrs.Converter:
    return cattrs.Converter(forbid_extra_keys=True)


@cache
def _tolerant() -> cattrs.Converter:
    return cattrs.Converter()


@cache
def _version() -> str:
    return distribution().version


def stamp() -> dict[str, Any]:
    """Return the entries that every file begins with: its form, and the version of almaflow that writes it."""
    return {"form": FORM, "almaflow": _version()}


def to_dict(record: Any) -> Any:
    """Turn a record into plain lists, dicts, strings and numbers."""
    return _strict().unstructure(record)


def from_dict(kind: type[T], data: Any) -> T:
    """Make a record of the given kind from the output of ``to_dict``; a key that is unknown is an error."""
    return _strict().structure(data, kind)


def write_json(path: Path | str, record: Any) -> None:
    """Write beside the path and then rename, so that a reader never sees half a file.

    A record is stamped with its form; plain data are written as they are.

    Raises:
        ValueError: a figure is NaN or infinite, which JSON does not know.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    data = stamp() | to_dict(record) if is_dataclass(record) else to_dict(record)
    text = json.dumps(data, indent=1, allow_nan=False, sort_keys=False)
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def read_json(path: Path | str, kind: type[T]) -> T:
    """Read the record that ``write_json`` wrote, now or in an earlier version of almaflow.

    Keys that are unknown here are left out, and fields that are not there have their defaults.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: the file is damaged, or of a form that is unknown here.
    """
    data = read_data(path)
    try:
        return _tolerant().structure(data, kind)
    except Exception as error:  # the values decide what is raised in here
        message = f"{path} is damaged, or was written by a version of almaflow that is unknown here"
        raise RecordError(message) from error


def read_data(path: Path | str) -> Any:
    """Read a JSON file as plain data, and check its form where it states one.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: the file is damaged, or of a form that is unknown here.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror})"
        raise RecordError(message) from error
    except (ValueError, RecursionError) as error:
        message = f"{path} is damaged: it holds no whole JSON text"
        raise RecordError(message) from error
    form = data.get("form", 0) if isinstance(data, dict) else 0
    if isinstance(form, int) and form > FORM:
        version = data.get("almaflow", "of an unknown version")
        message = f"{path} was written by a newer almaflow ({version}): upgrade almaflow here"
        raise RecordError(message)
    return data


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is no JSON"
    raise ValueError(message)


def to_line(record: Any) -> str:
    """Return a record as a line of a file to which records are appended.

    Raises:
        ValueError: a figure is NaN or infinite, which JSON does not know.
    """
    return json.dumps(to_dict(record), allow_nan=False) + "\n"


def from_line(line: str, kind: type[T]) -> T:
    """Make a record from a line that ``to_line`` gave; keys that are unknown here are left out.

    Raises:
        RecordError: the line is damaged.
    """
    try:
        return _tolerant().structure(json.loads(line, parse_constant=_refuse), kind)
    except Exception as error:  # the values decide what is raised in here
        message = f"a line is damaged, or was written by a version of almaflow that is unknown here: {line[:60]!r}"
        raise RecordError(message) from error


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """Read the records that ``to_line`` gave; a last line that a killed process left without its end is left out.

    Raises:
        RecordError: another line is damaged.
    """
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    try:
        return [_tolerant().structure(json.loads(line, parse_constant=_refuse), kind) for line in lines]
    except Exception as error:  # the values decide what is raised in here
        message = f"{path} is damaged, or was written by a version of almaflow that is unknown here"
        raise RecordError(message) from error
