"""What does recording cost, and are known times read back?

A function runs small graphs with a break behind each: as it is, compiled by PyTorch's backend that runs graphs eagerly,
and in a session. The last two in turns; their difference is what recording adds to a graph call. A second function
sleeps for 1 s, 100 ms and 10 ms between its graphs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from almaflow.segments.accelerate import accelerate
from almaflow.segments.session import ProfilingSession
from shared import at_least, make_parser, run_script, save, show

if TYPE_CHECKING:
    from collections.abc import Callable

    One = Callable[[torch.Tensor], torch.Tensor]

SLEEPS_S = (1.0, 0.1, 0.01)
FIRST = 10
"""Calls that are not timed."""


def main() -> None:
    """Time both, and show what was found."""
    parser = make_parser(__doc__)
    parser.add_argument("--calls", type=at_least(50), default=1000, help="calls of each kind")
    parser.add_argument("--graphs", type=at_least(1), default=20, help="graphs in a call")
    parser.add_argument("--sleeps", type=at_least(2), default=8, help="calls of the function that sleeps")
    arguments = parser.parse_args()
    found: dict[str, Any] = {
        "cost_us": _cost(arguments.calls, arguments.graphs),
        "sleeps_ms": _sleeps(arguments.sleeps),
    }
    show(
        "microseconds of a graph call", ("how", "median"), [(how, f"{us:.1f}") for how, us in found["cost_us"].items()]
    )
    rows = [
        (name, f"{slept:.3f}", f"{read:.3f}", f"{100 * (read / slept - 1):+.2f}%")
        for name, (slept, read) in found["sleeps_ms"].items()
    ]
    show("known times", ("ms", "slept", "read back", "off by"), rows)
    save(arguments, found)


def _cost(calls: int, graphs: int) -> dict[str, float]:
    function = _chain(graphs)
    compiled = torch.compile(_chain(graphs), backend="eager")
    recorded = accelerate(_chain(graphs))
    x = torch.ones(3)
    times: dict[str, list[int]] = {"as it is": [], "PyTorch, graphs eagerly": [], "in a session": []}
    with tempfile.TemporaryDirectory() as home, ProfilingSession((), home=Path(home)), torch.no_grad():
        for number in range(FIRST + calls):
            for taken, run in zip(times.values(), (function, compiled, recorded), strict=True):
                began = time.perf_counter_ns()
                run(x)
                if number >= FIRST:
                    taken.append(time.perf_counter_ns() - began)
    medians = {how: statistics.median(taken) / 1e3 / graphs for how, taken in times.items()}
    return medians | {"recording adds": medians["in a session"] - medians["PyTorch, graphs eagerly"]}


def _chain(graphs: int) -> One:
    """Return a function of so many graphs; a break in a loop would end the capture, so that each stands by itself."""
    body = "".join("    x = x + 1\n    torch._dynamo.graph_break()\n" for _ in range(graphs))
    names: dict[str, Any] = {"torch": torch}
    exec(f"def chained(x):\n{body}    return x\n", names)  # noqa: S102 - as many lines as graphs are asked for
    chained: One = names["chained"]
    return chained


def _sleeps(calls: int) -> dict[str, tuple[float, float]]:
    """Return by each sleep the medians of what it took by its own clock, and of what was read back, in milliseconds."""
    slept: dict[float, list[float]] = {each: [] for each in SLEEPS_S}

    def sleep(seconds: float) -> None:
        began = time.perf_counter()
        time.sleep(seconds)
        slept[seconds].append((time.perf_counter() - began) * 1e3)

    pause: Callable[[float], None] = torch._dynamo.disable(sleep)  # type: ignore[no-untyped-call]  # noqa: SLF001

    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        pause(SLEEPS_S[0])
        x = x + 1
        pause(SLEEPS_S[1])
        x = x * 2
        pause(SLEEPS_S[2])
        return x - 1

    with tempfile.TemporaryDirectory() as home:
        session = ProfilingSession((), home=Path(home))
        with session:
            for _ in range(calls):
                predict(torch.ones(3))
        counted = [call for call in session.files.calls() if call.discarded is None]
    return {
        f"{1e3 * seconds:g}": (
            statistics.median(taken[call.number] for call in counted),
            statistics.median(call.python_ms[slot] for call in counted),
        )
        for slot, (seconds, taken) in enumerate(slept.items())
    }


if __name__ == "__main__":
    run_script(main)
