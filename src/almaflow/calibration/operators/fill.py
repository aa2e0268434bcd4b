"""Fill a table with the times of operators, many timed in one process; what was timed is kept if it is stopped."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow import machine
from almaflow.predict.operators.tables import read_table, save_table
from almaflow.predict.operators.versions import runtime_versions
from almaflow.processes.conversation import Conversation
from almaflow.processes.environment import running, server_environment
from almaflow.records import HardwareSpec, to_dict
from almaflow.records.operators import OperatorTable, OperatorTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from almaflow.records.operators import Operator

PASSES, QUICK_PASSES = 6, 3
"""Visits of each operator, at as many moments; fewer where many operators are learnt from."""
SAVED_EVERY = 50
"""Operators after which the table is written."""


def table_here(conversion: str, hardware: HardwareSpec) -> OperatorTable:
    """Return this machine's table of a conversion, or an empty one."""
    processor = machine.describe().processor(hardware.device)
    try:
        return read_table(conversion, processor, hardware.threads)
    except FileNotFoundError:
        versions = runtime_versions(conversion)
        return OperatorTable(conversion, hardware.device, processor, hardware.threads, versions)


def fill_table(  # noqa: PLR0913, PLR0917 - progress is two functions
    table: OperatorTable,
    operators: Iterable[Operator],
    source: str,
    notify: Callable[[str], None],
    advance: Callable[[int], None],
    until: float | None = None,
) -> OperatorTable:
    """Time the operators that the table lacks, save the table, and return it.

    Args:
        table: The table of this machine.
        operators: Operators, more than once too.
        source: The source of their shapes: ``model`` or ``configs``.
        notify: Called with a line for each kind of operator that could not be timed.
        advance: Called with the number of operators that are done.
        until: The time by ``time.monotonic`` after which it stops; a later call goes on.

    Raises:
        AlmaflowError: the process that times them has ended.
    """
    wanted = {each.key: each for each in operators if not each.is_view}
    new = {key: each for key, each in wanted.items() if key not in table.entries and key not in table.untimed}
    if not new and table.rest:
        return table
    entries, untimed = dict(table.entries), dict(table.untimed)
    for line in _timed(table, list(new.values()), quick=source != "model"):
        if "rest" in line:
            table = replace(table, rest=line["rest"] or table.rest)
        elif "failed" in line:
            untimed[line["failed"]] = line["why"]
            advance(1)
        else:
            times = {name: line[name] for name in ("warm_us", "cold_us", "spread")}
            entries[line["timed"]] = OperatorTime(new[line["timed"]], **times, source=source)
            advance(1)
            if until is not None and table.rest and time.monotonic() > until:
                break
            if len(entries) % SAVED_EVERY == 0:
                save_table(replace(table, entries=entries, day=time.strftime("%Y-%m-%d")))
    for kind, key in {new[key].kind: key for key in untimed if key in new}.items():
        notify(f"{table.conversion}: {kind} does not run alone: {untimed[key]}")
    table = replace(table, entries=entries, untimed=untimed, day=time.strftime("%Y-%m-%d"))
    save_table(table)
    return table


def _timed(table: OperatorTable, operators: Sequence[Operator], *, quick: bool) -> Iterator[dict[str, Any]]:
    environment = os.environ | server_environment(HardwareSpec("here", table.device, table.threads))
    task = {
        "conversion": table.conversion,
        "threads": table.threads,
        "operators": [to_dict(each) for each in operators],
        "rest": not table.rest,
        "passes": QUICK_PASSES if quick else PASSES,
    }
    with (
        tempfile.TemporaryDirectory(prefix="almaflow-operators-", ignore_cleanup_errors=True) as scratch,
        Conversation(
            running("almaflow.worker.operators.timing"),
            Path(scratch, "log"),
            f"timing operators of {table.conversion}",
            environment,
            Path(scratch),
        ) as child,
    ):
        yield from child.ask_until("done", task)
