"""A sweep as it was planned beside the sweep as it went.

The sweep is run once, so that the store knows how long its jobs take. Then it is planned, and run again. The plan's
time is held against that of the whole second command. By default it goes through ``fleet=local``, which is this machine
as the only one of a fleet. For a fleet under a head, name its machines and give its overrides behind ``--``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from shared import BenchmarkError, figure, make_parser, percent, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

SWEEP = ("model=simple", "batch_size=1,2,4,8,16,32", "tier=1", "seed=0,1", "measure=quick", "fleet=local")
GOAL = 0.15


def main() -> None:
    """Run, plan, run again, and compare."""
    parser = make_parser(__doc__, overrides=f"the sweep (default: {' '.join(SWEEP)})")
    parser.add_argument("--machines", default="cpu=1", help="the fleet, as almaflow fleet plan has it (default: cpu=1)")
    parser.add_argument("--home", help="almaflow's home, whose store knows the jobs already: the first run is left out")
    arguments = parser.parse_args()
    overrides = arguments.overrides or SWEEP
    with tempfile.TemporaryDirectory(prefix="fleet-plan-") as scratch:
        home = arguments.home or scratch
        if not arguments.home:
            say(f"the first run took {_run(home, overrides):.0f} s")
        planned = [each for each in overrides if not each.startswith("fleet")]
        plan = json.loads(_almaflow(home, "fleet", "plan", "--json", "--machines", arguments.machines, "-m", *planned))
        took_s = _run(home, overrides)
    error = plan["seconds"] / took_s - 1
    rows = [
        ("jobs", str(len(plan["jobs"])), ""),
        ("planned (s)", figure(plan["seconds"], 1), ""),
        ("at least / at most (s)", f"{plan['low_s']:.1f} / {plan['high_s']:.1f}", ""),
        ("took (s)", figure(took_s, 1), ""),
        ("error of the plan", percent(error), f"within {percent(GOAL, 0)}"),
        *((f"jobs timed {source}", str(count), "") for source, count in plan["sources"].items()),
    ]
    show("A sweep as planned, and as it went", ("", "found", "goal"), rows)
    save(arguments, {"plan": plan, "took_s": took_s, "error": error})


def _run(home: str, overrides: Sequence[str]) -> float:
    began = time.monotonic()
    _almaflow(home, "run", "-m", *overrides)
    return time.monotonic() - began


def _almaflow(home: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {"ALMAFLOW_HOME": home}
    command = [sys.executable, "-m", "almaflow", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"almaflow {arguments[0]} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
        raise BenchmarkError(message)
    return done.stdout


if __name__ == "__main__":
    run_script(main)
