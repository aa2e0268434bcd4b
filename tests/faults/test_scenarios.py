"""The most telling scenarios of faults; all of them are played by ``make faults``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.faults.scenario import NotHereError, Scenario, cases, scenarios

if TYPE_CHECKING:
    from tests.faults.place import Place

SHORT = list(cases(short=True))


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "case"), SHORT, ids=[each.label(case) for each, case in SHORT])
def test_it_holds(scenario: Scenario, case: str, place: Place) -> None:
    try:
        scenario.play(place, *scenario.cases[case])
    except NotHereError as error:
        pytest.skip(str(error))


def test_every_scenario_has_words_and_a_name_of_its_own() -> None:
    labels = [each.label(case) for each, case in cases(short=False)]
    assert len(set(labels)) == len(labels)
    for each in scenarios():
        assert each.fault
        assert each.expected
        assert set(each.short) <= set(each.cases), each.name
