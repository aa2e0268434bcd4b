"""The trusted tool's side of against_tools.py, in a process of its own.

Builds the model that an almaflow worker measures, with the same weights, inputs and threads, and times it with a tool
that others trust. Reads one JSON line per turn on stdin, {"min_time_s": 0.3}, and answers each with one on stdout:
{"median_ms": 5.1, "calls": 58}. Whatever else is printed goes to stderr. It ends when stdin is closed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from almaflow.records.child_entry import answers_only
from timers import TOOLS, Work

REFILL_S = 0.03
"""Untimed calls before a turn, as almaflow makes them before its rounds: the other side's data is in the caches."""


def main() -> None:
    """Build, then answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="the task of the almaflow worker that measures the same, a JSON file")
    parser.add_argument("tool", choices=TOOLS)
    arguments = parser.parse_args()
    with answers_only() as answer:
        import torch

        timed = TOOLS[arguments.tool](load(arguments.task))
        with torch.no_grad():
            for line in sys.stdin:
                seconds = float(json.loads(line)["min_time_s"])
                end = time.perf_counter() + REFILL_S
                while time.perf_counter() < end:
                    timed.refill()
                median_ms, calls = timed.measure(seconds)
                answer({"median_ms": median_ms, "calls": calls})


def load(task_path: str) -> Work:
    """The model in the state, and the inputs, that the reference worker has left for all workers."""
    import torch

    from almaflow.models.build import build_model
    from almaflow.models.settle import restore
    from almaflow.records import WorkerTask, read_json

    task = read_json(task_path, WorkerTask)
    if task.hardware.cpus:
        os.sched_setaffinity(0, task.hardware.cpus)
    torch.set_num_threads(task.hardware.threads)
    model = build_model(task.model)
    reference = torch.load(task.reference_path, weights_only=True)
    restore(model, reference["settled"])
    return Work(model, reference["batches"], task.hardware.threads)


if __name__ == "__main__":
    main()
