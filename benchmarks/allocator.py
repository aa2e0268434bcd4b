"""What does the C library's allocator cost an eager call, and does a floor repeat from process to process?

Each model is called in fresh processes, in turns, with the allocator as a process starts, after it has freed a block of
32 MiB, and as almaflow's workers have it, which keep all memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from statistics import median
from typing import Any

from allocator_side import STATES
from shared import HERE, BenchmarkError, at_least, figure, make_parser, run_script, save, say, show

MODELS = ("mobilenet_v2", "resnet18", "densenet121", "efficientnet_b0")
BATCHES = (1, 8)


def main() -> None:
    """Run the processes and show what they found."""
    parser = make_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME", help="torchvision's")
    parser.add_argument("--batches", nargs="+", type=at_least(1), default=list(BATCHES), metavar="N", help="images")
    parser.add_argument("--processes", type=at_least(1), default=4, help="of each state (default: 4)")
    arguments = parser.parse_args()
    from almaflow.machine.lock import alone

    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with alone("wait", say):
        for name in arguments.models:
            for batch in arguments.batches:
                say(f"{name}, {batch} images")
                for _ in range(arguments.processes):
                    for state in STATES:
                        found[f"{name} x {batch}, {state}"].append(measured(name, batch, state))
                save(arguments, found)
    rows = []
    for what, each in found.items():
        faults, floors = ([one[key] for one in each] for key in ("faults", "floor_ms"))
        spread = 100 * (max(floors) / min(floors) - 1)
        rows.append([what, f"{min(faults):.0f}", f"{max(faults):.0f}", figure(median(floors)), figure(spread, 1)])
    columns = ["model, images, allocator", "page faults a call, fewest", "most", "floor ms", "floors apart by %"]
    show(f"{arguments.processes} fresh processes each, one thread", columns, rows)


def measured(name: str, batch: int, state: str) -> dict[str, Any]:
    """What one process found.

    Raises:
        BenchmarkError: it failed.
    """
    command = [sys.executable, str(HERE / "allocator_side.py"), name, str(batch), state]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{name}: {done.stderr.strip().splitlines()[-1:]}"
        raise BenchmarkError(message)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    run_script(main)
