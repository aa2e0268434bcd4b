"""A measurement that cannot be asked about is counted, and the others are asked about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.support.scored_runs import run

from almaflow.predict import rescore
from almaflow.predict.rescore import Rescorer

if TYPE_CHECKING:
    import pytest


def test_runs_of_an_older_almaflow_are_counted_and_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is of a conversion that is gone, the other was written without its threads."""
    monkeypatch.setattr(Rescorer, "_config", lambda *_: object())
    monkeypatch.setattr(rescore, "kept_workload", lambda *_: None)
    predictor: Any = object()
    rescorer = Rescorer("", predictor, print)
    runs = [replace(run(0), conversion="GONE"), replace(run(1), threads="")]
    assert list(rescorer.ask_about(runs)) == runs
    assert rescorer.unreadable == len(runs)
