"""A record of a sweep that cannot be read is left out with one warning, whosever it is."""

from __future__ import annotations

import logging

import pytest

from almaflow.records import SweepJob
from almaflow.sweeps import files as sweep_files
from almaflow.sweeps.files import SweepFiles, sweeps
from almaflow.sweeps.record import begin, end, untracked

OVERRIDES = ("batch_size=1,2",)
PLANNED = (("batch_size=1",), ("batch_size=2",))
OUTPUT = {"job_id": "j", "conversions": [{"conversion": "EAGER", "status": "ok", "latency_ms": 2.0}]}


def earlier(sweep_id: str) -> SweepFiles:
    held = begin(sweep_id, OVERRIDES, PLANNED, resumed=False)
    held.lock.release()
    held.files.write_job(SweepJob(0, PLANNED[0], 1.0, 2.0, 0, output=OUTPUT))
    return held.files


@pytest.mark.parametrize("damage", [b"null", b"[]", b'{"a": 1}', b"\xff", b'{"sweep_id": "', b'{"form": 99}'])
def test_a_damaged_record_stops_no_other_sweep(damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    sweep_files._warn.cache_clear()
    good, bad = earlier("2026-01-01"), earlier("2026-01-02")
    (bad.root / "sweep.json").write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        held = begin("2026-01-03", OVERRIDES, PLANNED, resumed=True)
        held.lock.release()
        assert held.files == good
        assert list(untracked()) == [good]
        assert list(sweeps()) == [good]
    (line,) = caplog.messages
    assert str(bad.root / "sweep.json") in line


@pytest.mark.parametrize("damage", [b"null", b'{"number": 1}', b'{"number": 1, "overrides": [], "sta'])
def test_a_damaged_record_of_a_job_leaves_the_others_in_the_table(
    damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    sweep_files._warn.cache_clear()
    files = earlier("2026-01-01")
    (files.root / "jobs" / "001.json").write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        summary = end(files)
    assert [(row.what, row.latency_ms) for row in summary.rows] == [("batch_size=1", None), ("batch_size=2", None)]
    assert summary.latencies == {"EAGER": {"batch_size=1": 2.0}}
    (line,) = caplog.messages
    assert "001.json" in line
