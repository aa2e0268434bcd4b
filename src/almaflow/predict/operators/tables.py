"""Tables of operators' times, kept under almaflow's home: one for each conversion, number of threads and runtime."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import RecordError
from almaflow.machine import cpus
from almaflow.predict.operators.versions import runtime_versions
from almaflow.records import read_json, write_json
from almaflow.records.operators import OperatorTable

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import HardwareSpec


VERSION = 2
"""The version of the way in which operators are timed, a part of each file's name: other tables are not read."""
FIELDS = ("cpu family", "model", "stepping", "cache size", "CPU implementer", "CPU part", "Features")
"""What tells processors of one name apart: a virtual machine's may be just ``AMD EPYC``."""
EXTENSIONS = ("amx", "avx", "f16c", "fma", "sse")
"""How those flags of x86 processors begin that decide on kernels; others change with the system's kernel."""


def processor_facts() -> list[object]:
    """Return what decides on the kernels that run on this machine's processor, and on their times."""
    here, text = machine.describe(), cpus.read(cpus.CPUINFO)
    flags = sorted(each for each in cpus.field(text, "flags").split() if each.startswith(EXTENSIONS))
    return [here.cpu, here.physical_cores, here.logical_cores, [cpus.field(text, each) for each in FIELDS], flags]


def table_path(conversion: str, processor: str, threads: int, versions: dict[str, str]) -> Path:
    """Return the file of a table."""
    facts = [VERSION, processor, processor_facts(), versions]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return machine.home() / "operators" / "tables" / f"{conversion}-{threads}-{digest}.json"


def load_table(conversion: str, hardware: HardwareSpec) -> OperatorTable | None:
    """Return the table that was made here by the installed runtime; None where there is none, or for other hardware.

    Raises:
        RecordError: the table is damaged.
    """
    here = machine.describe()
    processor = here.cpu
    # The last is what `almaflow calibrate` writes. A longer name that begins with this one's is another processor's.
    own = {processor, f"{processor}, {here.physical_cores} cores"}
    if hardware.device != "cpu" or own.isdisjoint({hardware.name, hardware.description}):
        return None
    with suppress(FileNotFoundError):
        return read_table(conversion, processor, hardware.threads)
    return None


def read_table(conversion: str, processor: str, threads: int) -> OperatorTable:
    """Read the table of this machine's processor and the installed runtime.

    Raises:
        FileNotFoundError: there is none.
        RecordError: it is damaged.
    """
    path = table_path(conversion, processor, threads, runtime_versions(conversion))
    try:
        return read_json(path, OperatorTable)
    except RecordError as error:
        message = f"{error}; delete it and run `almaflow calibrate --for model=...` again"
        raise RecordError(message) from error


def save_table(table: OperatorTable) -> Path:
    """Write a table, and return its file."""
    path = table_path(table.conversion, table.processor, table.threads, table.versions)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, table)
    return path
