"""``docs/results/reliability.md`` says what the scenarios say, and names tests that exist."""

from __future__ import annotations

from pathlib import Path

from tests.faults.elsewhere import ELSEWHERE, NOT_TRIED
from tests.faults.scenario import scenarios
from tests.faults.write_table import PAGE, row

ROOT = Path(__file__).parents[2]


def test_the_page_has_every_scenario_in_its_own_words() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for each in scenarios():
        what_and_then = row(each, {}).rsplit(" | ", 1)[0]
        assert what_and_then in page, f"`python -m tests.faults.write_table` writes: {each.name}"
    for fault, then, test in ELSEWHERE:
        assert fault in page
        assert then[1:] in page
        assert test in page
    assert all(each[1:] in page for each in NOT_TRIED)


def test_tests_that_are_named_exist() -> None:
    for _, _, test in ELSEWHERE:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), test
