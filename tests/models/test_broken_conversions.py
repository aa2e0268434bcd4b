"""Conversions that are broken on purpose are found, each on the models where it matters; right ones pass."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from tests.models.broken_conversions import BROKEN, PASSING, RIGHT, planned
from tests.models.corpus.every_example import CORPUS
from tests.models.corpus.example import OK, OK_WITH_NOTE, WRONG
from tests.models.corpus.families import PRELOAD
from tests.models.corpus_runner import run

if TYPE_CHECKING:
    from almaflow.records import PlannedConversion

pytestmark = [pytest.mark.slow, pytest.mark.answers]

FOUND = {WRONG, "unsupported"}
"""A branch that tracing froze is found before its outputs are compared."""
TYPES = ("float32", "int8")
"""The strictest tolerance, and that of INT8."""


def _verdicts(conversions: dict[str, tuple[str, ...]], types: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """What was said of each conversion on each of its models."""
    plans: dict[str, list[PlannedConversion]] = defaultdict(list)
    for name, models in conversions.items():
        for model in models:
            plans[model] += [planned(name, dtype) for dtype in types]
    examined = run([CORPUS[name] for name in plans], plans, jobs=2, preload=PRELOAD)
    return {(each.example.name, said.conversion): said.verdict for each in examined for said in each.verdicts}


def test_every_broken_conversion_is_found() -> None:
    verdicts = _verdicts(BROKEN, TYPES)
    assert {where: said for where, said in verdicts.items() if said not in FOUND} == {}


def test_right_conversions_pass() -> None:
    verdicts = _verdicts(dict.fromkeys(RIGHT, PASSING), ("float32",))
    assert {where: said for where, said in verdicts.items() if said not in {OK, OK_WITH_NOTE}} == {}
