"""What ``strict=true`` does not let pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.example_jobs import failed, job, ok, unavailable

from almaflow.jobs.strictness import shortfalls
from almaflow.records import FailureKind

DONE = job(ok("EAGER"), failed("JIT_TRACE", FailureKind.ERROR), unavailable("ONNX_GPU"))


@pytest.mark.parametrize(
    ("tier", "conversions", "names"),
    [
        (1, None, ["JIT_TRACE", "ONNX_GPU"]),
        (2, None, ["JIT_TRACE", "ONNX_GPU"]),
        (3, ["EAGER", "JIT_TRACE", "ONNX_GPU"], ["JIT_TRACE", "ONNX_GPU"]),
        (3, None, ["JIT_TRACE"]),  # it lists everything, whether it can run here or not
    ],
)
def test_what_failed_and_what_was_asked_for_and_cannot_run_here(
    tier: int, conversions: list[str] | None, names: list[str]
) -> None:
    made = replace(DONE, tier=tier, config={"conversions": conversions})
    assert [outcome.planned.name for outcome in shortfalls(made)] == names
    assert shortfalls(job(ok("EAGER"))) == []
