"""Keeps the rounds of a worker on disk one by one, each in a line of a file, as soon as it was taken."""

from __future__ import annotations

import json
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.records.json_files import from_dict, to_dict
from almaflow.records.results import Measurement, Round

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "rounds.jsonl"


@dataclass(frozen=True)
class KeptRound:
    """A round with its samples, and the figures of its process at its end."""

    round: Round
    samples_ms: tuple[float, ...]
    device_samples_ms: tuple[float, ...]
    total_s: float
    peak_memory_mb: float | None
    device_memory_mb: float | None


def keep_round(directory: str, kept: KeptRound) -> None:
    """Append a round to the file in the directory.

    There is no ``fsync``: the lines survive the end of every process, not that of the machine. Samples are written as
    bytes in base64, since as decimals 20 000 of them take longer than 10 ms.

    Raises:
        OSError: the disk cannot be written.
    """
    line = to_dict(replace(kept, samples_ms=(), device_samples_ms=()))
    line |= {name: _packed(getattr(kept, name)) for name in ("samples_ms", "device_samples_ms")}
    with Path(directory, NAME).open("ab", buffering=0) as stream:
        stream.write(json.dumps(line).encode() + b"\n")


def with_kept_rounds(measurement: Measurement, directory: Path) -> Measurement:
    """Add to a measurement what was kept in the directory after it was written."""
    kept = list(_kept(directory))
    if len(kept) <= len(measurement.rounds):
        return measurement
    last = kept[-1]
    return replace(
        measurement,
        rounds=tuple(each.round for each in kept),
        samples_ms=tuple(chain.from_iterable(each.samples_ms for each in kept)),
        device_samples_ms=tuple(chain.from_iterable(each.device_samples_ms for each in kept)),
        total_s=last.total_s,
        peak_memory_mb=last.peak_memory_mb,
        device_memory_mb=last.device_memory_mb,
    )


def _kept(directory: Path) -> Iterator[KeptRound]:
    try:
        lines = (directory / NAME).read_bytes().splitlines(keepends=True)
    except OSError:
        return
    for line in lines:
        if not line.endswith(b"\n"):  # the process was killed while it wrote
            return
        try:
            values: dict[str, Any] = json.loads(line)
            values |= {name: _unpacked(values[name]) for name in ("samples_ms", "device_samples_ms")}
            kept = from_dict(KeptRound, values)
        except Exception:  # noqa: BLE001 - converted code, or a broken disk, has spoilt the line: what is before it counts
            return
        yield kept


def _packed(samples: tuple[float, ...]) -> str:
    return b64encode(array("d", samples).tobytes()).decode("ascii")


def _unpacked(text: str) -> list[float]:
    return array("d", b64decode(text)).tolist()
