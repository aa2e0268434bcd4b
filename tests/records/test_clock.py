"""Times of day that are durations when they are subtracted, whoever sets the clock meanwhile."""

from __future__ import annotations

import time

import pytest

from almaflow.records.clock import now


def test_it_is_the_time_of_day() -> None:
    assert now() == pytest.approx(time.time(), abs=60)


def test_a_clock_that_is_set_back_makes_no_negative_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    began, set_back = now(), time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: set_back)
    assert 0 <= now() - began < 60
