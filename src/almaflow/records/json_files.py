"""Turns records into JSON and back, in files that are never half written."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import cattrs

T = TypeVar("T")


@cache
def _converter() -> cattrs.Converter:
    return cattrs.Converter(forbid_extra_keys=True)


def to_dict(record: Any) -> Any:
    """Turn a record into plain lists, dicts, strings and numbers."""
    return _converter().unstructure(record)


def from_dict(kind: type[T], data: Any) -> T:
    """Make a record of the given kind from the output of ``to_dict``."""
    return _converter().structure(data, kind)


def write_json(path: Path | str, record: Any) -> None:
    """Write beside the path and then rename, so that a reader never sees half a file.

    Raises:
        ValueError: a figure is NaN or infinite, which JSON does not know.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = json.dumps(to_dict(record), indent=1, allow_nan=False, sort_keys=False)
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def read_json(path: Path | str, kind: type[T]) -> T:
    """Read the record that ``write_json`` wrote."""
    return from_dict(kind, json.loads(Path(path).read_text(encoding="utf-8")))
