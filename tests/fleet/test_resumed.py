"""A command that asks for the same again goes on with the order that it sent before."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.fake_fleet import write_result

from almaflow.cli.fleet_jobs import FleetJob, _by_order, _resumed
from almaflow.cli.sweep import Ended
from almaflow.config.composition import compose
from almaflow.fleet import orders
from almaflow.fleet.adopt import adopt, job_files
from almaflow.fleet.make import make_order
from almaflow.records.kept_order import Kept

if TYPE_CHECKING:
    from pathlib import Path


def asked(*overrides: str) -> FleetJob:
    job = compose(["model=simple", "fleet=local", "resume=true", *overrides])
    return FleetJob(make_order(job, kind="auto", warn=print), Ended(), None)


@pytest.mark.parametrize(
    ("state", "interrupted", "same"),
    [(Kept.open, False, True), (Kept.recorded, False, True), (Kept.recorded, True, False), (Kept.failed, False, False)],
)
def test_what_is_open_or_whole_is_the_same_order(tmp_path: Path, state: Kept, *, interrupted: bool, same: bool) -> None:
    first = asked().made.kept
    orders.write(replace(first, state=state))
    if state is Kept.recorded:
        write_result(tmp_path / "fetched", first.order.order_id, interrupted=interrupted)
        adopt(first, tmp_path / "fetched")
    assert (_resumed(asked()).made.kept.order.order_id == first.order.order_id) is same
    assert _resumed(asked("batch_size=7")).made.kept.order.order_id != first.order.order_id


def test_a_result_whose_directory_was_removed_is_measured_again(tmp_path: Path) -> None:
    first = asked().made.kept
    write_result(tmp_path / "fetched", first.order.order_id)
    adopt(first, tmp_path / "fetched")
    orders.write(replace(first, state=Kept.recorded))
    shutil.rmtree(job_files(first).root)
    assert _resumed(asked()).made.kept.order.order_id != first.order.order_id


def test_two_jobs_that_ask_for_the_same_are_two_orders() -> None:
    first = asked().made.kept
    orders.write(first)
    known = _by_order([asked(), asked()])
    assert len(known) == 2
    assert first.order.order_id in known


def test_an_open_order_is_kept_with_the_fleet_that_it_is_sent_to_now() -> None:
    first = asked().made.kept
    orders.write(replace(first, engine="ray", address="head:6379"))
    kept = _resumed(asked()).made.kept
    assert (kept.order.order_id, kept.engine, kept.address) == (first.order.order_id, "local", None)
