"""Sweeps on a fleet of simulated machines, of which something is killed at a random moment.

What is killed: the power of a machine, its cable for longer than the lease, or with SIGKILL the command that sent the
orders, the agent, the broker or the head. After that the store must hold each result, and each once. Needs root.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.tracking.reader import conversion_runs
from shared import BenchmarkError, make_parser, run_script, say

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.simulated_fleet import BEGINS, SimulatedFleet, almaflow, wait_for
from tests.support.simulated_machines import NEEDS, can_simulate

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

    from tests.support.simulated_machines import SimulatedMachine

LOST_AFTER_S = 30
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


def main() -> None:
    """Kill, compare, and say what was found."""
    parser = make_parser(__doc__)
    parser.add_argument("what", nargs="+", choices=sorted(DEEDS), help="what is killed, one after the other")
    parser.add_argument("--times", type=int, default=1, help="sweeps for each (default: 1)")
    parser.add_argument("--machines", type=int, default=2, help="machines (default: 2)")
    parser.add_argument("--orders", type=int, default=3, help="orders of a sweep (default: 3; 12 at most)")
    parser.add_argument(
        "--within", type=float, default=15.0, help="latest moment after the first begins (default: 15 s)"
    )
    parser.add_argument("--seed", type=int, default=None, help="of the moments (default: another one each time)")
    arguments = parser.parse_args()
    if not can_simulate():
        raise BenchmarkError(NEEDS)
    seed = random.SystemRandom().randrange(10_000) if arguments.seed is None else arguments.seed
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    say(f"seed {seed}")
    names = [f"m{number}" for number in range(arguments.machines)]
    with SimulatedFleet.laid(names, lost_after_s=LOST_AFTER_S) as fleet, tempfile.TemporaryDirectory() as scratch:
        for number, what in enumerate(arguments.what * arguments.times):
            moment_s = moments.uniform(0.0, arguments.within)
            say(f"{what}, {moment_s:.1f} s after the first order begins")
            _round(fleet, Path(scratch, f"log{number}"), DEEDS[what], moment_s, f"{number}", arguments.orders)


def _round(  # noqa: PLR0913, PLR0917 - one sweep's
    fleet: SimulatedFleet, log: Path, deed: Callable[[SimulatedFleet, str, Popen[bytes]], None], moment_s: float,
    name: str, orders: int,
) -> None:  # fmt: skip
    words = [f"batch_size={','.join(map(str, SIZES[:orders]))}", f"experiment_name=killed{name}"]
    sweep = fleet.start_sweep(log, *words)
    first = wait_for(log, BEGINS, 1)[0]
    time.sleep(moment_s)
    deed(fleet, first, sweep)
    code = sweep.wait()
    if code:
        again = fleet.start_sweep(log, *words, "resume=true")
        code = again.wait()
    found = Counter(
        run.params["batch_size"]
        for run in conversion_runs(fleet.store)
        if run.experiment == f"killed{name}" and run.tags["almaflow.status"] == "ok"
    )
    say(f"exit code {code}, results {dict(found)}")
    if code or found != dict.fromkeys(map(str, SIZES[:orders]), 1):
        say(log.read_text(encoding="utf-8"))
        message = "the store does not hold each result once"
        raise BenchmarkError(message)


def _power(fleet: SimulatedFleet, machine_id: str, _: Popen[bytes]) -> None:
    machine = fleet.machines[machine_id]
    machine.power_off()
    machine.power_on()
    _joined(fleet, machine)


def _cable(fleet: SimulatedFleet, machine_id: str, _: Popen[bytes]) -> None:
    machine = fleet.machines[machine_id]
    machine.pull_cable()
    time.sleep(3 * LOST_AFTER_S)
    machine.plug_in()


def _coordinator(_: SimulatedFleet, __: str, sweep: Popen[bytes]) -> None:
    # The command itself, which nsenter started.
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text(encoding="ascii").split()
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _process(machine: SimulatedMachine, name: str) -> None:
    """Kill a process of a machine by its name in Ray."""
    script = f"for p in /proc/[0-9]*; do grep -qa '{name}' $p/cmdline && kill -9 ${{p#/proc/}}; done; true"
    machine.run(["bash", "-c", script])


def _agent(fleet: SimulatedFleet, machine_id: str, _: Popen[bytes]) -> None:
    _process(fleet.machines[machine_id], "^ray::RayAgent")


def _broker(fleet: SimulatedFleet, _: str, __: Popen[bytes]) -> None:
    _process(fleet.head, "^ray::RayBroker")


def _head(fleet: SimulatedFleet, _: str, __: Popen[bytes]) -> None:
    _process(fleet.head, "/gcs_server")
    almaflow(fleet.head, "fleet", "stop")  # what is left of it
    begun = almaflow(fleet.head, "fleet", "head", "--host", fleet.head.address, "--lost-after", str(LOST_AFTER_S))
    if begun.returncode:
        raise BenchmarkError(begun.stdout)


def _joined(fleet: SimulatedFleet, machine: SimulatedMachine) -> None:
    done = fleet.join(machine)
    if done.returncode:
        raise BenchmarkError(done.stdout)


DEEDS = {
    "power": _power,
    "cable": _cable,
    "coordinator": _coordinator,
    "agent": _agent,
    "broker": _broker,
    "head": _head,
}

if __name__ == "__main__":
    run_script(main)
