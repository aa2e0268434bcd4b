"""What recording costs: microseconds for each graph call, and how known sleeps are read back.

::

    python benchmarks/recording.py [--calls 2000] [--graphs 20]

A function runs small graphs with breaks between them: as it is, compiled by a backend that runs graphs eagerly, and in
a session. The difference of the last two is what recording adds to a graph call; that of the first two is PyTorch's own.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from almaflow.segments.accelerate import accelerate
from almaflow.segments.session import ProfilingSession

if TYPE_CHECKING:
    from collections.abc import Callable

SLEEPS_S = (1.0, 0.1, 0.01)


def chain(graphs: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function of so many graphs: each break ends one."""
    body = "".join("    x = x + 1\n    torch._dynamo.graph_break()\n" for _ in range(graphs))
    names = {"torch": torch}
    exec(f"def chained(x):\n{body}    return x\n", names)  # noqa: S102 - breaks in a loop would end the capture
    return names["chained"]  # type: ignore[return-value]  # the function that was just defined


def per_call_us(run: Callable[[torch.Tensor], object], calls: int) -> float:
    """Return the median microseconds of a call, after some that are not timed."""
    x, times = torch.ones(3), []
    for number in range(calls + 20):
        began = time.perf_counter_ns()
        run(x)
        times.append((time.perf_counter_ns() - began) / 1e3 if number >= 20 else 0.0)
    return statistics.median(times[20:])


def cost(calls: int, graphs: int) -> None:
    """Print the cost of recording."""
    function = chain(graphs)
    with torch.no_grad():
        compiled = per_call_us(torch.compile(function, backend="eager"), calls)
        plain = per_call_us(function, calls)
    with tempfile.TemporaryDirectory() as home, ProfilingSession((), home=Path(home)):
        recorded = per_call_us(accelerate(function), calls)
    print(f"{calls} calls of {graphs} graphs, median microseconds of a graph call")
    print(f"  as it is                   {plain / graphs:8.1f}")
    print(f"  graphs eagerly by PyTorch  {compiled / graphs:8.1f}")
    print(f"  in a session               {recorded / graphs:8.1f}")
    print(f"  recording adds             {(recorded - compiled) / graphs:8.1f}")


def sleeps(calls: int = 8) -> None:
    """Print how slots of known length are read back."""

    @torch._dynamo.disable
    def pause(seconds: float) -> None:
        time.sleep(seconds)

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
        profile = session.profile
    if profile is None:
        return
    print("sleeps, read back")
    for seconds, slot in zip(SLEEPS_S, profile.variants[0].python, strict=False):
        if slot is not None:
            print(f"  {seconds * 1e3:7.0f} ms  {slot.median_ms:10.3f} ms  {slot.median_ms / seconds / 10 - 100:+.2f}%")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--graphs", type=int, default=20)
    asked = parser.parse_args()
    cost(asked.calls, asked.graphs)
    sleeps()


if __name__ == "__main__":
    main()
