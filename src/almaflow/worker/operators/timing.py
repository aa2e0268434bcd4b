"""Time single operators on request, many in one process.

The first line on standard input is the task: ``conversion``, ``threads``, ``operators``, the ``passes`` over them,
whether to time the ``rest`` of a call too, and the ``chains`` that it is learnt from, where it needs any. The answers
are the parameters of the rest, then a line for each operator with its times or the reason why it has none.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from almaflow.machine.monitor import StateWatch
from almaflow.records import from_dict
from almaflow.records.child_entry import answers_only
from almaflow.records.operators import Operator
from almaflow.worker.operators.floors import floor, samples_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TIMERS = {
    "EAGER": "almaflow.worker.operators.eager_timer",
    "ONNX_CPU": "almaflow.worker.operators.onnx_timer",
    "OPENVINO": "almaflow.worker.operators.openvino_timer",
}
"""The module with ``start``, ``overhead_us``, ``rest`` and the class ``TimedOperator``, by conversion."""

VISIT_US = 4000.0
"""Microseconds of calls in one visit."""
FEWEST, MOST, COLD = 4, 60, 4
"""Calls of one visit: the fewest, the most, and those with cold weights."""
COLD_BYTES = 16_384
"""Bytes of weights from which cold calls are timed: fewer come with the first lines of any cache."""
TOGETHER, TOGETHER_BYTES = 60, 1.5e9
"""Operators that are built at a time, and the bytes that they may take."""


class Timed(Protocol):
    """One operator, built."""

    def call_us(self) -> float:
        """Return the microseconds of one call, inputs just written and weights as the last call left them."""

    def cold_us(self) -> float:
        """Return the microseconds of one call whose weights are in no cache."""


@dataclass
class _Visits:
    """The floors of an operator's visits, in microseconds."""

    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)


def main(answer: Callable[[object], None]) -> None:
    """Time all operators of the task, and end."""
    task = json.loads(sys.stdin.readline())
    module = import_module(TIMERS[task["conversion"]])
    module.start(task["threads"])
    operators = [from_dict(Operator, each) for each in task["operators"]]
    watch = StateWatch("cpu")
    if task["rest"]:
        with _others(watch) as others:
            rest = module.rest(task["threads"])
            if chains := task.get("chains"):
                from almaflow.worker.operators.chain_fit import fit

                rest |= fit(task["conversion"], chains, module, rest)
        answer({"rest": rest} | others)
    cold_bytes = getattr(module, "COLD_BYTES", COLD_BYTES)
    for group in _groups(operators):
        with _others(watch) as others:
            lines = list(time_group(group, module.TimedOperator, module.overhead_us(), task["passes"], cold_bytes))
        for line in lines:
            answer(line | others)
    answer({"done": len(operators)})


@contextmanager
def _others(watch: StateWatch) -> Iterator[dict[str, float]]:
    """Note the processors that others used meanwhile: neither this process nor its parent, which shows progress."""
    noted: dict[str, float] = {}
    watch.begin(os.getppid())
    yield noted
    state = watch.end()
    if state.others_cpus is not None:
        noted["others_cpus"] = state.others_cpus + (state.steal_cpus or 0.0)


def time_group(
    operators: Sequence[Operator],
    build: Callable[[Operator], Timed],
    overhead_us: float,
    passes: int,
    cold_bytes: float = COLD_BYTES,
) -> Iterator[dict[str, Any]]:
    """Build operators, visit each several times in turn, and yield what each takes."""
    built: dict[str, Timed] = {}
    for each in operators:
        try:
            timed = build(each)
            timed.call_us()
        except Exception as error:  # noqa: BLE001 - a runtime may raise anything; the others count without this one
            yield {"failed": each.key, "why": f"{type(error).__name__}: {error}"[:300]}
        else:
            built[each.key] = timed
    weights = {each.key: each.weight_bytes for each in operators}
    visits: dict[str, _Visits] = defaultdict(_Visits)
    for _ in range(passes):
        for key, timed in built.items():
            _visit(timed, visits[key], cold=weights[key] >= cold_bytes)
    for key in built:
        lowest = min(visits[key].warm)
        warm = max(0.0, lowest - overhead_us)
        cold = max(warm, min(visits[key].cold) - overhead_us) if visits[key].cold else None
        yield {"timed": key, "warm_us": warm, "cold_us": cold, "spread": median(visits[key].warm) / lowest - 1}


def _visit(timed: Timed, visits: _Visits, *, cold: bool) -> None:
    timed.call_us()
    visits.warm.append(floor(samples_until(timed.call_us, VISIT_US, FEWEST, MOST)))
    if cold:
        visits.cold.append(floor([timed.cold_us() for _ in range(COLD)]))


def _groups(operators: Sequence[Operator]) -> Iterator[list[Operator]]:
    group: list[Operator] = []
    size = 0.0
    for each in operators:
        own = each.weight_bytes * 3 + each.read_bytes + each.written_bytes  # as given, as packed, and in the file
        if group and (len(group) >= TOGETHER or size + own > TOGETHER_BYTES):
            yield group
            group, size = [], 0.0
        group.append(each)
        size += own
    if group:
        yield group


if __name__ == "__main__":
    with answers_only() as answer:
        main(answer)
    os._exit(0)  # destructors of converted code often crash
