"""The most telling scenarios of faults; all of them are played by ``make faults``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.faults.play import chosen_cases, held
from tests.faults.scenario import NotHereError, Scenario, cases, scenarios

if TYPE_CHECKING:
    from pathlib import Path

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


def test_one_case_of_each_scenario_is_played_before_the_others(tmp_path: Path) -> None:
    first, *others = [(each.name, case) for each, case in chosen_cases("", ())]
    count = len(scenarios())
    assert len({name for name, _ in (first, *others[: count - 1])}) == count
    assert len({first, *others}) == sum(len(each.cases) for each in scenarios())
    results = tmp_path / "results.jsonl"
    lines = [[*first, "FAILS", "so"], [*first, "holds", ""], [*others[0], "FAILS", "so"]]
    results.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert held(results) == {first}
    assert [(each.name, case) for each, case in chosen_cases("", held(results))] == others
