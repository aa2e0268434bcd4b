"""Makes plain data of each segment of a function: its best conversion, and a cell for each that was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from almaflow.records.plan import EAGER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from almaflow.profiles.latencies import Deployment, Latencies
    from almaflow.profiles.totals import Latency
    from almaflow.profiles.workload import FunctionCalls, Piece, Workload
    from almaflow.records import Status


def segment_entries(
    function: FunctionCalls, workload: Workload, known: Mapping[Deployment, Latencies], best: Mapping[str, Latency]
) -> list[dict[str, Any]]:
    """Return the segments, each with its cells; the best is that of the last machine."""
    entries = []
    for name, count in function.counts.items():
        piece, winner = workload.pieces[name], best.get(name)
        ms = winner.ms if winner else piece.eager_ms
        entries.append(
            {
                "segment_id": name,
                "family": piece.family,
                "location": piece.location,
                "what": piece.what,
                "calls_per_run": count / len(function.calls),
                "recorded_ms": piece.eager_ms,
                "ms": ms,
                "ms_per_run": ms * count / len(function.calls),
                "best": winner.conversion if winner else EAGER,
                "cells": [
                    {"hardware": each.hardware, "conversion": each.conversion} | _cell(piece, found)
                    for each, found in known.items()
                ],
            }
        )
    return sorted(entries, key=lambda entry: -float(str(entry["ms_per_run"])))


def _cell(piece: Piece, found: Latencies) -> dict[str, Any]:
    name = piece.segment_id
    figure, latency = found.figures.get(name), found.of.get(name)
    status: Status | None = figure.status if figure else None
    return {
        "status": str(status) if status else None,
        "ms": latency.ms if latency and (figure or latency.interpolated) else None,
        "low_ms": latency.low if figure and latency else None,
        "high_ms": latency.high if figure and latency else None,
        "interpolated": bool(latency and latency.interpolated),
        "unchecked": bool(piece.writes and latency and latency.conversion != EAGER),
        "fidelity_db": figure.fidelity_db if figure else None,
        "equal_share": figure.equal_share if figure else None,
        "failure": str(figure.failure) if figure and figure.failure else None,
        "message": found.failed.get(name),
        "job_id": figure.job_id if figure else None,
        "run_id": figure.run_id if figure else None,
    }
