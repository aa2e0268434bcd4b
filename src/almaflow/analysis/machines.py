"""The jobs of a sweep by model and machine: the best conversion of each, its cost, and what was predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.records.hardware import machine_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MILLION = 1_000_000
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class MachineRow:
    """The best conversion of one model on one machine."""

    workload: str
    """Model and batch size."""
    machine: str
    """Hardware config, with the beginning of the machine's ID where the sweep has several of one kind."""
    best: str
    figures: Mapping[str, Any]
    """The entry of that conversion in ``output=FILE.json``."""
    usd_per_million: float | None
    is_fastest: bool = False
    """Whether no other machine is faster with this model."""
    is_cheapest: bool = False


def usd_per_million(price_per_hour: float | None, throughput: float | None) -> float | None:
    """Return the USD for a million samples; None where the price or the throughput is not known."""
    if price_per_hour is None or not throughput:
        return None
    return price_per_hour / SECONDS_PER_HOUR / throughput * MILLION


def machine_names(outputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the machine of each job: by its hardware, and by its ID where there are several of that hardware."""
    ids: dict[str, set[str | None]] = {}
    for output in outputs:
        ids.setdefault(output["hardware"], set()).add(output.get("machine"))
    return [
        machine_name(output["hardware"], output.get("machine") if len(ids[output["hardware"]]) > 1 else None)
        for output in outputs
    ]


def machine_rows(outputs: Sequence[Mapping[str, Any]]) -> tuple[MachineRow, ...]:
    """Return a row for each model and machine, the fastest machine of a model first; none for a single machine.

    Args:
        outputs: The jobs, each as ``output=FILE.json`` holds it.
    """
    names = machine_names(outputs)
    if len(set(names)) <= 1:
        return ()
    rows: dict[tuple[str, str], MachineRow] = {}
    for output, name in zip(outputs, names, strict=True):
        row = _row(output, name)
        if row:
            known = rows.setdefault((row.workload, name), row)
            if row.figures["latency_ms"] < known.figures["latency_ms"]:
                rows[row.workload, name] = row
    by_workload: dict[str, list[MachineRow]] = {}
    for row in rows.values():
        by_workload.setdefault(row.workload, []).append(row)
    return tuple(each for workload in by_workload for each in _marked(by_workload[workload]))


def _row(output: Mapping[str, Any], name: str) -> MachineRow | None:
    best = output.get("best_conversion")
    entry = next((each for each in output.get("conversions", ()) if each["conversion"] == best), None)
    if entry is None or entry.get("latency_ms") is None:
        return None
    cost = usd_per_million(output.get("price_per_hour"), entry.get("throughput"))
    return MachineRow(f"{output['model']} b{output['batch_size']}", name, entry["conversion"], entry, cost)


def _marked(rows: list[MachineRow]) -> list[MachineRow]:
    """Mark the fastest and the cheapest machine of a model, where another machine has a figure too."""
    rows = sorted(rows, key=lambda row: row.figures["latency_ms"])
    costs = [row.usd_per_million for row in rows if row.usd_per_million is not None]
    least = min(costs) if len(costs) > 1 else None
    return [
        MachineRow(
            row.workload,
            row.machine,
            row.best,
            row.figures,
            row.usd_per_million,
            is_fastest=len(rows) > 1 and row is rows[0],
            is_cheapest=least is not None and row.usd_per_million == least,
        )
        for row in rows
    ]
