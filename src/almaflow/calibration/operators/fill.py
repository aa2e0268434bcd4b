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
from almaflow.processes.one_shot import answer_of
from almaflow.records import HardwareSpec, to_dict
from almaflow.records.operators import OperatorTable, OperatorTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from almaflow.records.operators import Operator

SOURCE = "model"
"""The source of entries that are a user's own models'."""
PASSES, QUICK_PASSES = 6, 3
"""Visits of each operator, at as many moments; fewer where many operators are learnt from."""
SAVED_EVERY = 50
"""Operators after which the table is written."""
LEARNT_FROM_FILES = frozenset({"ONNX_CPU", "OPENVINO"})
"""Conversions that open the chains which the rest of a call is learnt from as files; eager builds them itself."""
TIME_LIMIT_S = 600


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
    new = wanted_operators(table, operators, again=source == SOURCE)
    if not new and not table.rest_is_wanted:
        return table
    entries, untimed = dict(table.entries), dict(table.untimed)

    def saved() -> OperatorTable:
        made = replace(table, entries=entries, untimed=untimed, day=time.strftime("%Y-%m-%d"))
        save_table(made)
        return made

    try:
        for line in _timed(table, list(new.values()), quick=source != SOURCE):
            if "rest" in line:
                table = _with_rest(table, line)
                continue
            advance(1)
            if "failed" in line:
                untimed[line["failed"]] = line["why"]
                continue
            times: dict[str, Any] = {name: line.get(name) for name in ("warm_us", "cold_us", "spread", "others_cpus")}
            key = line["timed"]
            entries[key] = _shorter(entries.get(key), OperatorTime(new[key], **times, source=source))
            if until is not None and table.rest and time.monotonic() > until:
                break
            if len(entries) % SAVED_EVERY == 0:
                saved()
    finally:
        made = saved()  # also where the process that times them has ended
    for kind, key in {new[key].kind: key for key in untimed if key in new}.items():
        notify(f"{table.conversion}: {kind} does not run alone: {untimed[key]}")
    return made


def wanted_operators(table: OperatorTable, operators: Iterable[Operator], *, again: bool) -> dict[str, Operator]:
    """Return the operators to time, by their keys: those that the table lacks.

    Args:
        table: The table of this machine.
        operators: Operators, more than once too.
        again: Whether to time those again that were timed while others disturbed them.
    """
    known = set(table.entries) | set(table.untimed)
    if again:
        known -= table.disturbed
    return {each.key: each for each in operators if not each.is_view and each.key not in known}


def busy_warning(table: OperatorTable, operators: Iterable[Operator], then: str) -> str | None:
    """Return a line that says which times others have disturbed; None where they disturbed none.

    Args:
        table: A table that was just filled.
        operators: The operators that it was filled with.
        then: What to do about it.
    """
    keys = {each.key for each in operators if not each.is_view}
    disturbed = len(keys & table.disturbed)
    if not disturbed and not table.is_busy(table.rest_others_cpus):
        return None
    what = f"{disturbed} of {len(keys)} operators" if disturbed else "the overheads of a call"
    return f"{table.conversion}: others used the processors while {what} were timed, which may be too long; {then}"


def _shorter(before: OperatorTime | None, now: OperatorTime) -> OperatorTime:
    """Return the shorter times of two measurements of one operator, since others only ever lengthen them."""
    if before is None:
        return now
    cold = [each.cold_us for each in (before, now) if each.cold_us is not None]
    return replace(now, warm_us=min(before.warm_us, now.warm_us), cold_us=min(cold, default=None))


def _with_rest(table: OperatorTable, line: dict[str, Any]) -> OperatorTable:
    """Return the table with a new measurement of the rest of a call, unless others disturbed the one before less."""
    others, before = line.get("others_cpus"), table.rest_others_cpus
    if table.rest and (not line["rest"] or (others is not None and before is not None and others >= before)):
        return table
    return replace(table, rest=line["rest"], rest_others_cpus=others)


def _timed(table: OperatorTable, operators: Sequence[Operator], *, quick: bool) -> Iterator[dict[str, Any]]:
    environment = os.environ | server_environment(HardwareSpec("here", table.device, table.threads))
    task = {
        "conversion": table.conversion,
        "threads": table.threads,
        "operators": [to_dict(each) for each in operators],
        "rest": table.rest_is_wanted,
        "passes": QUICK_PASSES if quick else PASSES,
    }
    with (
        tempfile.TemporaryDirectory(prefix="almaflow-operators-", ignore_cleanup_errors=True) as scratch,
        tempfile.TemporaryDirectory(prefix="almaflow-chains-", ignore_cleanup_errors=True) as directory,
    ):
        if table.rest_is_wanted and table.conversion in LEARNT_FROM_FILES:
            task["chains"] = {"directory": directory, "operators": _chains(table, directory, environment)}
        with Conversation(
            running("almaflow.worker.operators.timing"),
            Path(scratch, "log"),
            f"timing operators of {table.conversion}",
            environment,
            Path(scratch),
        ) as child:
            yield from child.ask_until("done", task)


def _chains(table: OperatorTable, directory: str, environment: dict[str, str]) -> Any:
    """Write the chains that the rest of a call is learnt from, and return the operators of each."""
    return answer_of(
        "almaflow.worker.operators.chain_files",
        {"conversion": table.conversion, "threads": table.threads, "directory": directory},
        failed=f"the chains that the rest of a call of {table.conversion} is learnt from could not be opened",
        timeout_s=TIME_LIMIT_S,
        environment=environment,
    )
