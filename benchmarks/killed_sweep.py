"""A sweep over real models, killed with SIGKILL at a random moment and resumed, beside an undisturbed one.

Both are run with ``resume=true``, since a tier 2 takes over what the tier 1 of the same model and batch size has
measured. The two stores must then hold the same results, each once.
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

SWEEP = ("model=resnet18,mobilenet_v2", "batch_size=1,4", "tier=1,2")


def main() -> None:
    """Run both, compare, and say what was found."""
    parser = make_parser(__doc__, overrides=f"the sweep (default: {' '.join(SWEEP)})")
    parser.add_argument("--seed", type=int, default=None, help="of the moment (default: another one each time)")
    parser.add_argument("--kills", type=int, default=1, help="how often (default: 1)")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if arguments.seed is None else arguments.seed
    overrides = arguments.overrides or SWEEP
    with tempfile.TemporaryDirectory(prefix="killed-sweep-") as scratch:
        undisturbed, killed = Path(scratch, "undisturbed"), Path(scratch, "killed")
        began = time.monotonic()
        _sweep(undisturbed, overrides).wait()
        took_s = time.monotonic() - began
        say(f"undisturbed: {took_s:.0f} s")
        moments = random.Random(seed)  # noqa: S311 - moments, not secrets
        for _ in range(arguments.kills):
            moment_s = moments.uniform(0.05, 0.95) * took_s
            process = _sweep(killed, overrides)
            try:
                process.wait(moment_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            found = _found(killed)
            say(f"killed after {moment_s:.0f} s (seed {seed}), with {sum(found.values())} results in the store")
        if code := _sweep(killed, overrides).wait():
            message = f"the resumed sweep ended with {code}"
            raise BenchmarkError(message)
        expected, there = _found(undisturbed), _found(killed)
        say(f"undisturbed: {sum(expected.values())} results; resumed: {sum(there.values())}")
        say(f"missing: {sum((expected - there).values())}, beyond: {sum((there - expected).values())}")
        if expected != there or max(there.values(), default=0) > 1:
            message = "the stores differ"
            raise BenchmarkError(message)
        say("equal, and each result once")


def _sweep(home: Path, overrides: list[str] | tuple[str, ...]) -> subprocess.Popen[bytes]:
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "almaflow", "run", "-m", *overrides, "measure=quick", "resume=true"]
    environment = os.environ | {"ALMAFLOW_HOME": str(home)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (home / "log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


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
