"""One eager conversion of a model with dynamic sizes, run by a real worker's steps in the test's own process."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import planned
from tests.support.minimal_task import LINEAR, Events, TurnInbox, do_prepare, make_task

from almaflow.records import DynamicDim, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.records import Measurement

DYNAMIC = replace(LINEAR, dynamic=(DynamicDim("batch", 1, 8),))
SIZED = replace(DYNAMIC, sizes=({"batch": 1}, {"batch": 8}))


def run(
    tmp_path: Path, model: ModelSpec = SIZED, forward: Callable[..., Any] | None = None, replicate: int = 0
) -> tuple[list[Measurement], Events, Exception | None]:
    """Prepare and run one eager conversion; ``forward`` takes eager's call and the input in place of that call."""
    from almaflow.worker import conversion as steps
    from almaflow.worker.failures import FixedSizeError, WrongOutputError

    task = make_task(tmp_path, model, min_samples=27, min_time_s=0.0, warmup_calls=1, warmup_time_s=0.0)
    task = replace(task, conversion=planned(), weights_digest=do_prepare(task).weights_digest, replicate=replicate)
    kept: list[Measurement] = []
    events, build = Events(), vars(steps)["build"]

    def changed(*given: Any) -> ConvertedModel:
        made: ConvertedModel = build(*given)
        eager = made.built.forward
        return replace(made, built=replace(made.built, forward=lambda x: forward(eager, x) if forward else eager(x)))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steps, "build", changed)
        try:
            steps.run_conversion(task, events, TurnInbox(2, first=0), time.perf_counter(), kept.append)  # type: ignore[arg-type]
        except (WrongOutputError, FixedSizeError) as error:
            return kept, events, error
    return kept, events, None
