"""A worker that is asked to writes its model once everything is measured, and what is measured stands if it cannot."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import planned
from tests.support.minimal_task import Events, TurnInbox, do_prepare, make_task

from almaflow.records.export import Format, read_export

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Measurement

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


def measured(tmp_path: Path, *, keep: bool = True, limit_mb: float | None = None) -> tuple[Events, list[Measurement]]:
    """Run one eager conversion of a linear layer, and return what it told and kept."""
    from almaflow.worker.conversion import run_conversion

    task = make_task(tmp_path, min_samples=27, min_time_s=0.0, warmup_calls=1, warmup_time_s=0.0)
    digest = do_prepare(task).weights_digest
    task = replace(task, conversion=planned(), weights_digest=digest, keep_limit_mb=limit_mb)
    events, turns = Events(), TurnInbox(1, first=0, keep=keep)
    kept: list[Measurement] = []
    run_conversion(task, events, turns, time.perf_counter(), kept.append)  # type: ignore[arg-type]
    return events, kept


def test_the_model_is_written_after_the_evidence(tmp_path: Path) -> None:
    events, kept = measured(tmp_path)
    assert events.phases[-2:] == ["check", "keep"]
    export = read_export(tmp_path / "export")
    assert kept[-1].export_mb == export.size_mb == (tmp_path / "export" / "weights.pt").stat().st_size / 1e6
    assert (export.format, export.builder) == (Format.STATE_DICT, "torch.nn.Linear")
    assert kept[-1].samples_ms == kept[-2].samples_ms


def test_an_evaluation_after_it_leaves_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from almaflow.worker import conversion

    def evaluate(run: Any) -> None:
        run._keep(replace(run._measurement, quality={"top1": 0.5}))

    monkeypatch.setattr(conversion._Run, "evaluate", evaluate)
    _, kept = measured(tmp_path)
    assert kept[-1].quality == {"top1": 0.5}
    assert kept[-1].export_mb is not None


def test_nothing_is_written_where_nobody_asks(tmp_path: Path) -> None:
    events, kept = measured(tmp_path, keep=False)
    assert "keep" not in events.phases
    assert (kept[-1].export_mb, kept[-1].not_kept, (tmp_path / "export").exists()) == (None, None, False)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (RuntimeError("[enforce fail] unexpected pos 64 vs 0"), "No space left on device"),
        (NotImplementedError("its call takes objects"), "its call takes objects"),
        (ValueError("two\nlines"), "ValueError: two lines"),
    ],
)
def test_whatever_keeps_it_from_being_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    from almaflow.conversions.exports import write

    monkeypatch.setitem(write.WRITERS, Format.STATE_DICT, fail)
    _, kept = measured(tmp_path)
    assert (kept[-1].not_kept, kept[-1].export_mb) == (why, None)
    assert kept[-1].samples_ms
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("known_before", [True, False])
def test_a_model_above_the_limit_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, known_before: bool
) -> None:
    from almaflow.worker import keeping

    if not known_before:
        monkeypatch.setattr("almaflow.conversions.converted.ConvertedModel.model_mb", lambda _: None)
    monkeypatch.setattr(keeping, "LEFT_MB", 0.0)
    _, kept = measured(tmp_path, limit_mb=1e-5)
    assert kept[-1].not_kept == "its 0 MB are above keep_limit_mb=1e-05"
    assert kept[-1].export_mb is None
    assert not (tmp_path / "export").exists()
