"""Shows the operators of a call, as they were predicted beside what a profiler measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records.operators import ComparedOperator, Operator, OperatorTensor

LONGEST = 20
"""Rows that are shown one by one; the others are summed up."""


def operators_table(compared: Sequence[ComparedOperator]) -> Table:
    """Return a table of operators, with the profiler's column where it saw the same operators."""
    profiled = any(each.profiled_ms is not None for each in compared)
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
    for name in ("operator", "input", "weights", "output"):
        table.add_column(name)
    for name in ("count", "predicted", *(("profiler", "difference") if profiled else ())):
        table.add_column(name, justify="right")
    for each in compared[:LONGEST]:
        table.add_row(*_names(each.operator), str(each.count), *_times(each, profiled=profiled))
    if rest := compared[LONGEST:]:
        count, predicted = sum(each.count for each in rest), sum(each.predicted_ms for each in rest)
        measured = sum(each.profiled_ms or 0.0 for each in rest)
        table.add_row("all others", "", "", "", str(count), *_cells(predicted, measured, profiled=profiled))
    return table


def _names(operator: Operator) -> tuple[str, str, str, str]:
    weights = [each for each in operator.inputs if each and each.constant]
    given = [each for each in operator.inputs if each and not each.constant]
    return (
        operator.kind.rpartition(":")[2],
        _first(given),
        _first(weights),
        _first(list(filter(None, operator.outputs))),
    )


def _first(tensors: Sequence[OperatorTensor]) -> str:
    return "x".join(map(str, tensors[0].shape)) if tensors else ""


def _times(each: ComparedOperator, *, profiled: bool) -> list[str]:
    return _cells(each.predicted_ms, each.profiled_ms, profiled=profiled)


def _cells(predicted_ms: float, profiled_ms: float | None, *, profiled: bool) -> list[str]:
    if not profiled or profiled_ms is None:
        return [f"{predicted_ms:.3g}"]
    return [f"{predicted_ms:.3g}", f"{profiled_ms:.3g}", f"{predicted_ms - profiled_ms:+.3g}"]
