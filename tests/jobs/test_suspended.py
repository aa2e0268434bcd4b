"""A job that is suspended while it times: the call that was stopped is kept, told, and not in the figures."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.command_directory import Place

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.forked_commands import ForkedCommand

STOP_S = 3.0


@pytest.mark.slow
@pytest.mark.alone
def test_a_job_that_was_suspended_has_the_rate_of_the_calls_that_were_not(tmp_path: Path) -> None:
    place = Place(tmp_path).with_store()
    called = tmp_path / "called"
    arguments = (
        "model=custom",
        "model._target_=misbehaving_models.Leisurely",
        f"model.kwargs={{called: '{called}'}}",
        "model.inputs=[{shape: [6]}]",
        "conversions=[EAGER]",
        "measure=quick",
        "measure.min_time_s=6",
        "measure.max_time_s=12",
        "measure.time_budget_s=40",
        "output=r.json",
    )
    with place.start(*arguments) as process:
        _stop_while_it_times(process, called)
        process.communicate()
    assert process.returncode == 0, place.stderr
    (entry,) = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["conversions"]
    _, record = place.job()
    measured = record["outcomes"][0]["measurement"]
    assert any(each["state"] and each["state"]["stops_s"] for each in measured["rounds"])
    assert entry["latency/max"] < 1000 * STOP_S / 2
    assert entry["throughput"] > 20
    # Between two calls, or before those that are timed, a stop is in none of them.
    stopped = [sample for sample in measured["samples_ms"] if sample > 1000 * STOP_S / 2]
    assert len(stopped) == sum("1 call of 3." in note for note in entry["notes"]) <= 1


def _stop_while_it_times(process: subprocess.Popen[str] | ForkedCommand, called: Path) -> None:
    """Suspend the command and all that it started, workers first, once its worker is in the timed rounds."""
    deadline = time.monotonic() + 120
    while not called.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    parent = psutil.Process(process.pid)
    tree = [*reversed(parent.children(recursive=True)), parent]
    for each in tree:
        each.suspend()
    time.sleep(STOP_S)
    for each in tree:
        each.resume()
