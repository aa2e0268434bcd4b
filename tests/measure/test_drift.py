"""How far the machine has drifted during a job, by its control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from almaflow.measure.drift import DriftProbe
from almaflow.records.protocol import RoundReport

if TYPE_CHECKING:
    from almaflow.records.protocol import RoundRequest


class ControlWorker:
    """Gives made medians, round by round, and dies with the last."""

    def __init__(self, *medians_ms: float) -> None:
        self._left = list(medians_ms)
        self.turns: list[RoundRequest] = []

    def turn(self, turn: RoundRequest) -> RoundReport | None:
        self.turns.append(turn)
        return RoundReport(3, self._left.pop(0), 0.1) if self._left else None


def drift_of(*medians_ms: float) -> tuple[Any, list[RoundRequest]]:
    worker = ControlWorker(*medians_ms)
    anything: Any = worker
    control = DriftProbe(anything)
    control.at_start()
    control.at_end()
    return control.drift(), worker.turns


def test_drift_is_eager_at_the_end_beside_eager_at_the_start() -> None:
    found, turns = drift_of(10.0, 10.2, 9.9, 10.0, 30.0, 12.0, 12.1, 12.0, 11.9, 12.0)
    assert (found.start_ms, found.end_ms) == (10.0, 12.0)
    assert found.relative == pytest.approx(0.2)
    assert found.resolved == pytest.approx(2.01)  # one round of the first was far off: less than that is noise
    assert len(turns) == 10


@pytest.mark.parametrize("medians_ms", [(), (10.0,) * 4, (10.0,) * 5, (10.0,) * 9, (0.0, *(10.0,) * 9)])
def test_a_control_that_has_died_or_whose_clock_is_too_coarse_tells_nothing(medians_ms: tuple[float, ...]) -> None:
    assert drift_of(*medians_ms)[0] is None
