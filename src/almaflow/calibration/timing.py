"""Time small networks by several conversions: the parent's side.

Each conversion has processes of its own, since threads of one runtime spin while the next one's call begins. Two
conversions at a time build their networks side by side, and then take turns, so that each is timed alone and at several
moments.
"""

from __future__ import annotations

import math
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow import machine
from almaflow.errors import AlmaflowError
from almaflow.processes.conversation import Conversation
from almaflow.processes.environment import running, server_environment
from almaflow.records import HardwareSpec, to_dict
from almaflow.records.plan import EAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from almaflow.records import ModelSpec, PlannedConversion

TOGETHER = 2
"""Conversions that are timed side by side: each takes several GB until it is done."""
PER_PROCESS = 30
"""Networks in one process: OpenVINO takes the longer for one, the more there are already."""
GB_PER_BUILDER, MOST_BUILDERS = 6.0, 12
"""GB that a building process may come to hold, and the most such processes; otherwise one for each core."""
PASSES = 8
"""Visits of each network, many and short: a machine that is slow for seconds is also met at fast moments."""


@dataclass
class Timed:
    """Times of networks, and what could not be timed."""

    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The workload of each network, as ``to_dict`` gives it; counted by eager's process, where there is one."""
    visits: dict[str, dict[str, list[tuple[list[float], float]]]] = field(default_factory=dict)
    """Times of each pass by conversion and network: single calls in ms, and the control workload before them."""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Conversion, network and the reason."""


def time_kernels(
    kernels: Mapping[PlannedConversion, Sequence[ModelSpec]],
    threads: int,
    notify: Callable[[str, int], None],
    per_process: int = PER_PROCESS,
) -> Timed:
    """Build and time networks.

    Args:
        kernels: The networks by conversion, all for the same device; put those that take longest to build first.
        threads: Threads of the runtimes.
        notify: Called with what goes on, and how many steps of it were done.
        per_process: The most networks in one process.

    Raises:
        AlmaflowError: a process ended before its time, or a conversion has no network to time.
    """
    timed = Timed()
    counter = next((each for each in kernels if each.name == EAGER), None)
    ordered = sorted(kernels, key=_own_memory)  # stable
    for first in range(0, len(ordered), TOGETHER):
        group = {each: kernels[each] for each in ordered[first : first + TOGETHER]}
        parts = [
            (each, part, counter in {each, None})
            for each, specs in group.items()
            for part in _parts(specs, per_process)
        ]
        _time_group(parts, threads, timed, notify)
    return timed


def _time_group(
    parts: Sequence[tuple[PlannedConversion, Sequence[ModelSpec], bool]],
    threads: int,
    timed: Timed,
    notify: Callable[[str, int], None],
) -> None:
    with (
        # A process whose parent was ended may still write there.
        tempfile.TemporaryDirectory(prefix="almaflow-calibrate-", ignore_cleanup_errors=True) as scratch,
        ExitStack() as stack,
    ):
        children = [
            _child(planned, specs, threads, Path(scratch, str(number)), counts=counts)
            for number, (planned, specs, counts) in enumerate(parts)
        ]
        for child in children:
            stack.enter_context(child.conversation)
        with ThreadPoolExecutor(_builders()) as pool:
            try:
                list(pool.map(lambda child: _build(child, timed, notify), children))
            except BaseException:
                for child in children:
                    child.conversation.end()  # the threads wait for their answers
                raise
        for planned in {child.planned for child in children}:
            if not any(child.built for child in children if child.planned == planned):
                why = next((why for name, _, why in timed.failed if name == planned.name), "it was given none")
                message = f"calibrating {planned.name}: none of its networks could be built: {why}"
                raise AlmaflowError(message)
        for _ in range(PASSES):
            for child in children:
                _take_pass(child, timed, notify)


def _own_memory(planned: PlannedConversion) -> bool:
    return planned.traits.keeps_memory or planned.device != "cpu"


def compiles(planned: PlannedConversion) -> bool:
    """Return whether the conversion takes seconds to build even a small network."""
    return planned.traits.dynamo


def _builders() -> int:
    here = machine.describe()
    return max(2, min(MOST_BUILDERS, here.physical_cores, int(here.memory_gb / GB_PER_BUILDER)))


def _parts(specs: Sequence[ModelSpec], per_process: int) -> list[Sequence[ModelSpec]]:
    """Split the networks into one part for each process."""
    count = max(_builders(), math.ceil(len(specs) / per_process))
    return [part for first in range(count) if (part := specs[first::count])]


@dataclass
class _Child:
    """One process, with the networks that it builds and times."""

    planned: PlannedConversion
    task: dict[str, Any]
    """The first question to the process."""
    conversation: Conversation
    built: int = 0
    """The number of networks that are built."""


def _child(
    planned: PlannedConversion, specs: Sequence[ModelSpec], threads: int, directory: Path, *, counts: bool
) -> _Child:
    directory.mkdir()
    environment = os.environ | server_environment(HardwareSpec("here", planned.device, threads))
    if planned.device != "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    environment |= {"TORCHINDUCTOR_CACHE_DIR": str(directory / "compile-cache"), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    task = {
        "threads": threads,
        "place": str(directory),
        "conversion": to_dict(planned),
        "kernels": [to_dict(spec) for spec in specs],
        "counts": counts,
        "forks": not _own_memory(planned),
    }
    command = running("almaflow.worker.networks")
    return _Child(planned, task, Conversation(command, directory / "log", f"calibrating {planned.name}", environment))


def _build(child: _Child, timed: Timed, notify: Callable[[str, int], None]) -> None:
    for answer in child.conversation.ask_until("ready", child.task):
        child.built += "built" in answer
        if "workload" in answer:
            timed.workloads[answer["built"]] = answer["workload"]
        if "failed" in answer:
            timed.failed.append((child.planned.name, answer["failed"], answer["why"]))
        notify(f"building for {child.planned.name}", 1)


def _take_pass(child: _Child, timed: Timed, notify: Callable[[str, int], None]) -> None:
    visits = timed.visits.setdefault(child.planned.name, {})
    for answer in child.conversation.ask_until("passed", {"pass": True}):
        visits.setdefault(answer["timed"], []).append((answer["samples_ms"], answer["control_ms"]))
        notify(f"timing {child.planned.name}", 1)
