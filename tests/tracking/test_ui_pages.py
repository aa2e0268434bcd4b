"""Which prepared pages an experiment has."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING

from almaflow.tracking import ui_pages
from almaflow.tracking.ui_views import ACCURACY, JOB, PROFILE, SEGMENTS, SWEEP, SWEEP_BEST, TAG

if TYPE_CHECKING:
    import pytest


def test_a_sweep_keeps_its_pages_when_a_single_job_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is opened, since it is newer; the sweep is still listed."""
    runs = {"job": _run("job", 2000), "sweep": _run("sweep", 1000, sweep_id="s1")}
    _store(monkeypatch, runs)
    (found,) = ui_pages.prepare_pages("sqlite:///runs.db")
    assert [view.key for view in found.views] == [JOB, ACCURACY, SWEEP, SWEEP_BEST]
    assert found.views[2].title == "sweep s1"


def test_the_totals_of_the_newest_session_are_opened_after_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"job": _run("job", 2000, profile_id="p1"), "profile": _run("profile", 1000, profile_id="p1")}
    _store(monkeypatch, runs)
    (found,) = ui_pages.prepare_pages("sqlite:///runs.db")
    assert [view.key for view in found.views] == [PROFILE, SEGMENTS, JOB, ACCURACY]
    assert found.views[0].state["searchFilter"].endswith("'profile_total' AND tags.`almaflow.profile_id` = 'p1'")
    runs["job"] = _run("job", 3000)  # another one, which is newer
    (found,) = ui_pages.prepare_pages("sqlite:///runs.db")
    assert [view.key for view in found.views] == [JOB, ACCURACY, PROFILE, SEGMENTS]


def _store(monkeypatch: pytest.MonkeyPatch, runs: dict[str, SimpleNamespace]) -> None:
    monkeypatch.setattr(ui_pages, "newest_of", lambda _, __, kind: runs.get(kind))
    monkeypatch.setattr(ui_pages, "session", lambda *_, **__: nullcontext(_Client()))
    monkeypatch.setattr(ui_pages, "is_missing", lambda _: False)
    monkeypatch.setattr(ui_pages, "write", lambda *_: None)


def _run(kind: str, started: int, **tags: str) -> SimpleNamespace:
    named = {f"almaflow.{name}": value for name, value in {"kind": kind, "job_id": "j1", **tags}.items()}
    info = SimpleNamespace(run_name="net b1", start_time=started, experiment_id="1")
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=named))


class _Client:
    """A store with one experiment that has pages."""

    def search_experiments(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(experiment_id="1", name="almaflow", tags={f"{TAG}{JOB}": ""})]
