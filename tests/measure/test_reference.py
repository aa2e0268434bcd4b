"""A model that cannot be prepared ends the job with one line that says whose trouble it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from almaflow.errors import AlmaflowError, UsageError
from almaflow.measure.reference import reference_info
from almaflow.processes.worker_handle import WorkerExit
from almaflow.records import Failure, FailureKind, ReferenceInfo, WorkerResult


class Ended:
    """A worker that has ended with a failure."""

    def __init__(self, failure: Failure, log_path: Path) -> None:
        log_path.write_text("a last line\n", encoding="utf-8")
        self._exit = WorkerExit(WorkerResult(failure=failure), log_path, "load")

    def until_ready(self) -> bool:
        return False

    def exit_state(self) -> WorkerExit:
        return self._exit


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (
            Failure(FailureKind.MACHINE, "the disk is full; free some space"),
            "prepared: the disk is full; free some space",
        ),
        (Failure(FailureKind.CRASHED, "killed by SIGABRT"), "prepared (crashed: killed by SIGABRT); a last line"),
    ],
)
def test_the_line_is_that_of_a_full_disk_where_it_is_full(tmp_path: Path, failure: Failure, line: str) -> None:
    ended: Any = Ended(failure, tmp_path / "worker.log")
    with pytest.raises(AlmaflowError) as raised:
        reference_info("S", ended)
    assert str(raised.value) == f"the model S could not be {line}"


def test_a_figure_that_the_evaluation_did_not_give_of_eager_ends_the_job_before_it_measures() -> None:
    info = ReferenceInfo((), (), 1, "x", "cpu", {}, 0.1, quality={"right": 0.9, "val_loss": 0.2})
    prepared: Any = SimpleNamespace(
        until_ready=lambda: True, exit_state=lambda: WorkerExit(WorkerResult(prepared=info), Path("log"), "ready")
    )
    for named in ("latency_ms", "quality/right", "quality/val_loss_drop", "quality/samples"):
        assert reference_info("S", prepared, [named]) == info
    with pytest.raises(UsageError, match=r"^choose: quality/rigth: the figures of the evaluation are right, val_loss$"):
        reference_info("S", prepared, ["latency_ms", "quality/rigth"])
