"""A head and two machines, all simulated: one of them loses its power and the other its network while they measure.

One fleet serves all tests of this file, since Ray takes half a minute to start on three machines.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from re import findall
from typing import TYPE_CHECKING

import pytest
from tests.support.simulated_fleet import BEGINS, SECRETS, SimulatedFleet, almaflow, ended, has_ray, wait_for
from tests.support.simulated_machines import NEEDS, can_simulate

from almaflow.tracking.reader import conversion_runs, job_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not can_simulate(), reason=f"simulated machines: {NEEDS}"),
    pytest.mark.skipif(not has_ray(), reason="Ray: pip install -e '.[ray]'"),
]

LOST_AFTER_S = 30
PULLED_S = 12
"""Longer than a machine's beat, and a good deal shorter than what makes it lost: the machine may be busy."""
ENDS_WITHIN_S = 300


@dataclass
class Story:
    """What the fleet's one sweep went through."""

    fleet: SimulatedFleet
    off: str
    """ID of the machine that lost its power."""
    seen: str
    """Variables of all processes on the other machine while it measured."""
    said: str
    code: int


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """Two orders on two machines. When both run, one machine is switched off, and the other's cable is pulled."""
    with SimulatedFleet.laid(["anna", "bert"], lost_after_s=LOST_AFTER_S) as fleet:
        log = fleet.head.disk / "sweep.log"
        sweep = fleet.start_sweep(log, "batch_size=1,2")
        off, pulled = wait_for(log, BEGINS, 2, sweep)[:2]
        fleet.machines[off].power_off()
        fleet.machines[pulled].pull_cable()
        time.sleep(PULLED_S)
        fleet.machines[pulled].plug_in()
        seen = fleet.machines[pulled].run(["bash", "-c", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'"]).stdout
        code = ended(sweep, log, ENDS_WITHIN_S)
        yield Story(fleet, off, seen, log.read_text(encoding="utf-8"), code)


def test_each_order_has_exactly_one_result(story: Story) -> None:
    assert story.code == 0, story.said
    found = Counter(
        (run.params["batch_size"], run.params["conversion"], run.tags["almaflow.status"])
        for run in conversion_runs(story.fleet.store)
    )
    assert found == {("1", "EAGER", "ok"): 1, ("2", "EAGER", "ok"): 1}
    assert len(list(job_runs(story.fleet.store))) == 2


def test_a_short_loss_of_the_network_is_none_and_the_machine_measures_both_orders(story: Story) -> None:
    assert findall(r"machine (\w+) is lost", story.said) == [story.off]
    measured = {run.tags["almaflow.machine"] for run in conversion_runs(story.fleet.store)}
    assert measured == set(story.fleet.machines) - {story.off}


def test_a_machine_that_comes_back_joins_again_and_its_dead_order_goes(story: Story) -> None:
    machine = story.fleet.machines[story.off]
    orders = machine.disk / "home/fleet/spool/orders"
    assert list(orders.iterdir())
    machine.power_on()
    joined = story.fleet.join(machine)
    assert joined.returncode == 0, joined.stdout
    assert f"machine {story.off} is in the fleet" in joined.stdout
    listed = almaflow(story.fleet.head, "fleet", "list")
    assert listed.stdout.count("idle") == 2, listed.stdout
    deadline = time.monotonic() + 60
    while list(orders.iterdir()):
        assert time.monotonic() < deadline, "the machine keeps an order that ended elsewhere"
        time.sleep(0.5)


def test_a_wrong_token_is_refused_with_one_line(story: Story) -> None:
    machine = story.fleet.machines[story.off]
    assert almaflow(machine, "fleet", "stop").stdout.strip() == "ended: join"
    refused = story.fleet.join(machine, "0" * len(story.fleet.token))
    assert refused.returncode == 1
    assert len(refused.stdout.strip().splitlines()) == 1
    assert "the head refuses the token: copy the file" in refused.stdout


def test_no_secret_of_the_user_reaches_a_machine(story: Story) -> None:
    assert "RAY_AUTH_TOKEN_PATH" in story.seen, "Ray's processes were looked at"
    for name, secret in {**SECRETS, "the token": story.fleet.token}.items():
        assert secret not in story.seen, name
        where = ["grep", "-rlF", "--exclude=token", secret, "/mnt", "/tmp/ray"]  # noqa: S108 - the machine's own
        for machine in (story.fleet.head, *story.fleet.machines.values()):
            assert machine.run(where).stdout == "", (name, machine.name)
