"""A sweep over real models, killed with SIGKILL at random moments and resumed, beside an undisturbed one.

Both are run with ``resume=true``, since a tier 2 takes over what the tier 1 of the same model and batch size has
measured. The two stores must then hold the same results, each once. With ``--fleet`` machines measure, here this one:
orders go on while nobody waits for them, and none may be left over.
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
from typing import TYPE_CHECKING

from almaflow.tracking.reader import conversion_runs, job_runs
from shared import BenchmarkError, at_least, make_parser, run_script, say

if TYPE_CHECKING:
    from collections.abc import Sequence

SWEEP = ("model=resnet18,mobilenet_v2", "batch_size=1,4", "tier=1,2")


def main() -> None:
    """Run an undisturbed sweep and the killed ones, compare, and say what was found."""
    parser = make_parser(__doc__, overrides=f"the sweep (default: {' '.join(SWEEP)})")
    parser.add_argument("--seed", type=int, default=None, help="of the moments (default: others each time)")
    parser.add_argument("--times", type=at_least(1), default=1, help="how many sweeps are killed (default: 1)")
    parser.add_argument("--kills", type=at_least(1), default=1, help="how often each of them is (default: 1)")
    parser.add_argument("--fleet", action="store_true", help="with fleet=local: the coordinator is killed")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10_000) if arguments.seed is None else arguments.seed
    more = ("measure=quick", "resume=true", *(("fleet=local",) if arguments.fleet else ()))
    overrides = [*(arguments.overrides or SWEEP), *more]
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    with tempfile.TemporaryDirectory(prefix="killed-sweep-") as scratch:
        undisturbed, began = Path(scratch, "undisturbed"), time.monotonic()
        _end(_sweep(undisturbed, overrides))
        took_s = time.monotonic() - began
        say(f"undisturbed: {took_s:.0f} s")
        for number in range(arguments.times):
            killed = Path(scratch, f"killed-{number}")
            for _ in range(arguments.kills):
                moment_s = moments.uniform(0.05, 0.95) * took_s
                _kill(_sweep(killed, overrides), moment_s)
                there = sum(_found(killed).values())
                say(f"killed after {moment_s:.0f} s (seed {seed}), with {there} results in the store")
            _end(_sweep(killed, overrides))
            _compare(undisturbed, killed)


def _sweep(home: Path, overrides: Sequence[str]) -> subprocess.Popen[bytes]:
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "almaflow", "run", "-m", *overrides]
    environment = os.environ | {"ALMAFLOW_HOME": str(home)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (home / "log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _kill(process: subprocess.Popen[bytes], moment_s: float) -> None:
    try:
        process.wait(moment_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    if code := process.wait():
        message = f"the sweep ended with {code}"
        raise BenchmarkError(message)


def _compare(undisturbed: Path, killed: Path) -> None:
    expected, there = _found(undisturbed), _found(killed)
    left = [*killed.glob("fleet/spool/orders/*")]
    say(f"undisturbed: {sum(expected.values())} results; resumed: {sum(there.values())}; orders left: {len(left)}")
    say(f"missing: {sum((expected - there).values())}, beyond: {sum((there - expected).values())}")
    if expected != there or max(there.values(), default=0) > 1 or left:
        message = "the stores differ"
        raise BenchmarkError(message)
    say("equal, and each result once")


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
