"""Timing small networks by several conversions: the parent's side.

Each conversion has processes of its own, since threads of one runtime spin while the next one's call begins. Two
conversions at a time build their networks side by side, and then take turns, so that each is timed alone and at several
moments.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from almaflow import machine
from almaflow.errors import AlmaflowError
from almaflow.processes.environment import server_environment
from almaflow.records import HardwareSpec, to_dict
from almaflow.records.plan import EAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from almaflow.records import ModelSpec, PlannedConversion

TOGETHER = 2
"""Conversions: each takes several GB until it was timed."""
PER_PROCESS = 30
"""Networks: OpenVINO takes the longer for one, the more there are already."""
GB_PER_BUILDER, MOST_BUILDERS = 6.0, 12
"""As many processes build at a time as there are cores, as long as memory is enough for what stays of each."""
PASSES = 8
"""Many short visits: a machine that is slow for seconds is seen at its fast moments too."""


@dataclass
class Timed:
    """What came of it."""

    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of each network, as ``to_dict`` gives a workload; counted by eager's process, where there is one."""
    visits: dict[str, dict[str, list[tuple[list[float], float]]]] = field(default_factory=dict)
    """By conversion and network, for each pass: single calls in ms, and the control workload before them."""
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    """Conversion, network and why."""


def time_kernels(
    kernels: Mapping[PlannedConversion, Sequence[ModelSpec]],
    threads: int,
    tell: Callable[[str, int], None],
    per_process: int = PER_PROCESS,
) -> Timed:
    """Build and time networks.

    Args:
        kernels: By conversion, all for the same device; those that take longest to build go first.
        threads: Of the runtimes.
        tell: Is told what goes on, and how many steps of it were done.
        per_process: So many networks are in one process at most.

    Raises:
        AlmaflowError: a process ended before its time, or a conversion has no network to time.
    """
    found = Timed()
    counter = next((each for each in kernels if each.name == EAGER), None)
    ordered = sorted(kernels, key=_own_memory)  # stable
    for first in range(0, len(ordered), TOGETHER):
        group = {each: kernels[each] for each in ordered[first : first + TOGETHER]}
        children = [
            (each, part, counter in {each, None})
            for each, specs in group.items()
            for part in _parts(specs, per_process)
        ]
        _time_group(children, threads, found, tell)
    return found


def _time_group(
    parts: Sequence[tuple[PlannedConversion, Sequence[ModelSpec], bool]],
    threads: int,
    found: Timed,
    tell: Callable[[str, int], None],
) -> None:
    with (
        # A process whose parent was ended may still write there.
        tempfile.TemporaryDirectory(prefix="almaflow-calibrate-", ignore_cleanup_errors=True) as scratch,
        ExitStack() as stack,
    ):
        children = [
            stack.enter_context(_Child(planned, specs, threads, Path(scratch, str(number)), counts=counts))
            for number, (planned, specs, counts) in enumerate(parts)
        ]
        with ThreadPoolExecutor(_builders()) as pool:
            try:
                list(pool.map(lambda child: _build(child, found, tell), children))
            except BaseException:
                for child in children:
                    child.end()  # the threads wait for what they say
                raise
        for planned in {child.planned for child in children}:
            if not any(child.built for child in children if child.planned == planned):
                why = next((why for name, _, why in found.failed if name == planned.name), "it was given none")
                message = f"calibrating {planned.name}: none of its networks could be built: {why}"
                raise AlmaflowError(message)
        for _ in range(PASSES):
            for child in children:
                _take_pass(child, found, tell)


def _own_memory(planned: PlannedConversion) -> bool:
    return planned.traits.keeps_memory or planned.device != "cpu"


def compiles(planned: PlannedConversion) -> bool:
    """Whether it takes seconds to build even a small network."""
    return planned.traits.dynamo


def _builders() -> int:
    here = machine.describe()
    return max(2, min(MOST_BUILDERS, here.physical_cores, int(here.memory_gb / GB_PER_BUILDER)))


def _parts(specs: Sequence[ModelSpec], per_process: int) -> list[Sequence[ModelSpec]]:
    """For one process each."""
    count = max(_builders(), math.ceil(len(specs) / per_process))
    return [part for first in range(count) if (part := specs[first::count])]


def _build(child: _Child, found: Timed, tell: Callable[[str, int], None]) -> None:
    for said in child.start():
        child.built += "built" in said
        if "workload" in said:
            found.workloads[said["built"]] = said["workload"]
        if "failed" in said:
            found.failed.append((child.planned.name, said["failed"], said["why"]))
        if "ready" not in said:
            tell(f"building for {child.planned.name}", 1)


def _take_pass(child: _Child, found: Timed, tell: Callable[[str, int], None]) -> None:
    visits = found.visits.setdefault(child.planned.name, {})
    for said in child.take_pass():
        if "timed" in said:
            visits.setdefault(said["timed"], []).append((said["samples_ms"], said["control_ms"]))
            tell(f"timing {child.planned.name}", 1)


class _Child:
    """One process, from its start to its end."""

    def __init__(
        self, planned: PlannedConversion, specs: Sequence[ModelSpec], threads: int, place: Path, *, counts: bool
    ) -> None:
        self.planned, self._specs, self._threads, self._place = planned, specs, threads, place
        self.built = 0
        """Networks."""
        self._counts = counts
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        pipes = (self._process.stdin, self._process.stdout) if self._process else ()
        for stream in (*pipes, self._log):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start(self) -> Iterator[dict[str, Any]]:
        """Start it; what it says until it is ready."""
        self._place.mkdir()
        environment = os.environ | server_environment(HardwareSpec("here", self.planned.device, self._threads))
        if self.planned.device != "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
        cache = str(self._place / "compile-cache")
        environment |= {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        self._log = (self._place / "log").open("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "almaflow.worker.networks"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment,
        )  # fmt: skip
        asked = {
            "threads": self._threads,
            "place": str(self._place),
            "conversion": to_dict(self.planned),
            "kernels": [to_dict(spec) for spec in self._specs],
            "counts": self._counts,
            "forks": not _own_memory(self.planned),
        }
        return self._until("ready", json.dumps(asked))

    def take_pass(self) -> Iterator[dict[str, Any]]:
        """Time each network; what it says meanwhile."""
        return self._until("passed", "pass")

    def _until(self, last: str, line: str) -> Iterator[dict[str, Any]]:
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            message = "the process was not started"
            raise RuntimeError(message)
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its output has ended too, which is told below
        for said in self._process.stdout:
            made: dict[str, Any] = json.loads(said)
            yield made
            if last in made:
                return
        raise AlmaflowError(self._end())

    def _end(self) -> str:
        code = self._process.wait() if self._process else None
        last = ""
        if self._log is not None:
            self._log.seek(0)
            last = (self._log.read().strip().splitlines() or [""])[-1][:300]
        return f"calibrating {self.planned.name}: its process ended with {code}: {last}"
