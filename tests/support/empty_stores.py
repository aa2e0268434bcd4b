"""An empty MLflow store that is made once and copied: MLflow takes seconds to make its tables."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from almaflow.tracking import session

_make = session._create


def copy_empty_store(database: Path) -> None:
    """Do what ``session._create`` does."""
    database.parent.mkdir(parents=True, exist_ok=True)
    part = database.with_name(f".{database.name}.part")
    shutil.copy(_empty_store(), part)
    part.replace(database)


@cache
def _empty_store() -> Path:
    """One that the product has made, for all tests of this process."""
    place = tempfile.TemporaryDirectory(prefix="almaflow-empty-store-")
    _KEPT.append(place)
    database = Path(place.name, "mlflow.db")
    _make(database)
    return database


_KEPT: list[tempfile.TemporaryDirectory[str]] = []
"""Directories that are removed when the process ends."""
