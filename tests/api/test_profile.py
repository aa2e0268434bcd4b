from __future__ import annotations

from typing import Any

import pytest

import almaflow
from almaflow.errors import UsageError
from almaflow.segments.session import ProfilingSession


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"fidelity_inputs": 0}, "fidelity_inputs=0: take a whole number from 1 on"),
        ({"fidelity_inputs": 1.5}, "fidelity_inputs=1.5: take a whole number from 1 on"),
        ({"recompile_limit": -1}, "recompile_limit=-1: take a whole number from 1 on"),
        ({"recompile_limit": True}, "recompile_limit=True: take a whole number from 1 on"),
        ({"time_budget_s": -0.5}, "time_budget_s=-0.5: take a number from 0 on or None"),
        ({"time_budget_s": float("inf")}, "time_budget_s=inf: take a number from 0 on or None"),
        ({"min_segment_us": float("nan")}, "min_segment_us=nan: take a number from 0 on"),
        ({"min_segment_us": "50"}, "min_segment_us='50': take a number from 0 on"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_runs(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as raised:
        almaflow.profile(**settings)
    assert str(raised.value) == told


def test_a_session_checks_what_it_counts() -> None:
    with pytest.raises(UsageError, match=r"^fidelity_inputs=0: take a whole number from 1 on$"):
        ProfilingSession((), fidelity_inputs=0)
