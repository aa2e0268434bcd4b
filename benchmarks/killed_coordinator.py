"""A sweep with ``fleet=local`` whose coordinator is killed with SIGKILL at random moments, beside an undisturbed one.

Orders go on while nobody waits for them, and the command goes on with ``resume=true``. The stores must then hold the
same results, each once, and no order may be left over.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from almaflow.tracking.reader import conversion_runs, job_runs
from shared import BenchmarkError, make_parser, run_script, say

SWEEP = ("model=simple", "batch_size=1,2,4", "conversions=[EAGER]")


def main() -> None:
    """Run both, compare, and say what was found."""
    parser = make_parser(__doc__, overrides=f"the sweep (default: {' '.join(SWEEP)})")
    parser.add_argument("--seed", type=int, default=None, help="of the moments (default: others each time)")
    parser.add_argument("--kills", type=int, default=10, help="how often (default: 10)")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if arguments.seed is None else arguments.seed
    overrides = arguments.overrides or SWEEP
    with tempfile.TemporaryDirectory(prefix="killed-coordinator-") as scratch:
        undisturbed, began = Path(scratch, "undisturbed"), time.monotonic()
        _ended(_sweep(undisturbed, overrides))
        took_s = time.monotonic() - began
        say(f"undisturbed: {took_s:.0f} s")
        moments = random.Random(seed)  # noqa: S311 - moments, not secrets
        for number in range(arguments.kills):
            home = Path(scratch, f"killed-{number}")
            moment_s = moments.uniform(0.05, 0.95) * took_s
            process = _sweep(home, overrides)
            try:
                process.wait(moment_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            there = sum(_found(home).values())
            say(f"killed after {moment_s:.0f} s (seed {seed}), with {there} results in the store")
            _ended(_sweep(home, overrides))
            _compare(undisturbed, home)


def _ended(process: subprocess.Popen[bytes]) -> None:
    if code := process.wait():
        message = f"the sweep ended with {code}"
        raise BenchmarkError(message)


def _compare(undisturbed: Path, killed: Path) -> None:
    expected, there = _found(undisturbed), _found(killed)
    left = [*(killed / "fleet" / "spool" / "orders").iterdir()]
    say(f"undisturbed: {sum(expected.values())} results; resumed: {sum(there.values())}; orders left: {len(left)}")
    say(f"missing: {sum((expected - there).values())}, beyond: {sum((there - expected).values())}")
    if expected != there or max(there.values(), default=0) > 1 or left:
        message = "the stores differ"
        raise BenchmarkError(message)
    say("equal, and each result once")


def _sweep(home: Path, overrides: list[str] | tuple[str, ...]) -> subprocess.Popen[bytes]:
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "almaflow", "run", "-m", *overrides]
    environment = os.environ | {"ALMAFLOW_HOME": str(home)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, "measure=quick", "fleet=local", "resume=true"], env=environment, stdout=log, stderr=log
        )


def _found(home: Path) -> Counter[tuple[str, ...]]:
    """How often each result and each ended job is in the store."""
    uri = f"sqlite:///{home}/mlflow.db"
    results = [(run.tags["almaflow.fingerprint"], run.tags["almaflow.status"]) for run in conversion_runs(uri)]
    jobs = [
        (run.tags["almaflow.plan_fingerprint"], run.tags.get("almaflow.status", "running")) for run in job_runs(uri)
    ]
    return Counter([*results, *jobs])


if __name__ == "__main__":
    run_script(main)
