"""A file of predicted latencies: CSV with a header, or JSON with a list of objects."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from almaflow.records import PredictionRequest

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ANY = ("", "*", None)


class Row(BaseModel):
    """One predicted latency; a key that is missing fits every request."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    latency_ms: Positive
    model: str | None = None
    hardware: str | None = None
    conversion: str | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    energy_j: Positive | None = None
    low_ms: Positive | None = None
    high_ms: Positive | None = None

    def fits(self, question: PredictionRequest) -> bool:
        """Return whether the row answers the request; a conversion's name fits in upper or lower case."""
        names = {question.conversion.name.upper(), question.conversion.requested.upper()}
        return (
            self.model in {None, question.model.name}
            and self.hardware in {None, question.hardware.name}
            and self.batch_size in {None, question.batch_size}
            and (self.conversion is None or self.conversion.upper() in names)
        )

    @property
    def keys(self) -> int:
        """The number of keys that the row has: of two rows that fit, the one with more keys answers."""
        return len({"model", "hardware", "conversion", "batch_size"} & self.model_fields_set)


def read_table(path: str) -> tuple[tuple[Row, ...], str]:
    """Return the rows of a file, and a version that changes with its content.

    Raises:
        UsageError: the file cannot be read, or an entry is not what it should be; the line says which.
    """
    where = f"predictor.given.path={path}"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        entries: Any = json.loads(text) if path.lower().endswith(".json") else list(csv.DictReader(io.StringIO(text)))
    except (OSError, ValueError, csv.Error) as error:
        message = f"{where}: cannot be read ({error})"
        raise UsageError(message) from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        message = f"{where}: must hold a list of entries with latency_ms and any of {', '.join(Row.model_fields)}"
        raise UsageError(message)
    rows = tuple(_row(entry, f"{where}, entry {number}") for number, entry in enumerate(entries, 1))
    return rows, hashlib.sha256(text.encode()).hexdigest()[:12]


def _row(entry: dict[Any, Any], where: str) -> Row:
    try:
        return Row.model_validate({str(key): value for key, value in entry.items() if value not in ANY})
    except ValidationError as error:
        first = error.errors()[0]
        message = f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError(message) from error
