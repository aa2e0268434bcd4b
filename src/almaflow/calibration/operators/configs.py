"""Fill tables with operators of drawn layers, from which the times of others are interpolated."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from almaflow.calibration.operators.fill import busy_warning, fill_table, table_here
from almaflow.calibration.operators.shapes import layers
from almaflow.machine.lock import alone
from almaflow.predict.operators.interpolate import SOURCE, learn
from almaflow.predict.operators.tables import save_table
from almaflow.processes.one_shot import answer_of
from almaflow.records import from_dict
from almaflow.records.operators import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.calibration.calibrate import CalibrationProgress
    from almaflow.records import HardwareSpec, PlannedConversion
    from almaflow.records.operators import OperatorTable

LAYERS, TOGETHER = 600, 120
"""Layers that are drawn, and those that a runtime opens at a time."""
SECONDS = 280.0
"""Seconds for each conversion; the next calibration goes on where this one stopped."""
TIME_LIMIT_S = 600
MOVES = 4
"""Only each fourth operator that moves a tensor into another layout is timed: there is one beside every layer."""


def time_configs(
    hardware: HardwareSpec, conversions: Sequence[PlannedConversion], progress: CalibrationProgress, count: int = LAYERS
) -> list[OperatorTable]:
    """Time the operators of drawn layers, as many as ``SECONDS`` allow, and return the tables.

    Raises:
        AlmaflowError: a runtime does not open the layers, or a process ended before its time.
    """
    return [_filled(each.name, hardware, count, progress) for each in conversions]


def _filled(conversion: str, hardware: HardwareSpec, count: int, progress: CalibrationProgress) -> OperatorTable:
    drawn = layers(count)
    with alone("wait", progress.notify):
        table = table_here(conversion, hardware)  # with what the one that was waited for has added
        until = time.monotonic() + SECONDS
        for first in range(0, count, TOGETHER):
            if time.monotonic() > until:
                break
            progress.status(f"finding operators of {table.conversion}")
            operators = _operators(table, drawn[first : first + TOGETHER])
            total = len(operators) * -(-count // TOGETHER)
            table = fill_table(
                table,
                operators,
                SOURCE,
                progress.notify,
                partial(_advance, progress, table.conversion, total),
                until,
            )
        progress.status(f"learning {conversion}")
        table = replace(table, models=learn(table))
        path = save_table(table)
    learnt = [each.operator for each in table.entries.values() if each.source == SOURCE]
    if warning := busy_warning(table, learnt, f"to start again on a quieter machine, delete {path} first"):
        progress.notify(warning)
    return table


def _advance(progress: CalibrationProgress, conversion: str, total: int, steps: int) -> None:
    progress.timing(f"timing operators of {conversion}", steps, total)


def _operators(table: OperatorTable, drawn: Sequence[dict[str, object]]) -> list[Operator]:
    answer = answer_of(
        "almaflow.worker.operators.drawn",
        {"conversion": table.conversion, "threads": table.threads, "layers": drawn},
        failed=f"{table.conversion} did not open drawn layers",
        timeout_s=TIME_LIMIT_S,
    )
    operators = [from_dict(Operator, each) for each in answer]
    moves = [each for each in operators if "Reorder" in each.kind]
    return [each for each in operators if "Reorder" not in each.kind] + moves[::MOVES]
