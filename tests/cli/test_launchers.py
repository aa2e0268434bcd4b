"""What is told of errors of the launchers for clusters."""

from __future__ import annotations

import pytest

from almaflow.cli.launchers import explain_launcher
from almaflow.errors import AlmaflowError, UsageError

utils = pytest.importorskip("submitit.core.utils", reason="needs hydra-submitit-launcher")


def test_jobs_that_the_cluster_refuses_are_the_users_mistake() -> None:
    error = utils.FailedJobError(
        'sbatch: error: Batch job submission failed: Invalid feature specification\nTry "sbatch --help"'
    )
    explained = explain_launcher(error)
    assert isinstance(explained, UsageError)
    assert str(explained).startswith(
        "the cluster refused the jobs: Batch job submission failed: Invalid feature specification; "
    )
    assert "\n" not in str(explained)


def test_a_refusal_in_unknown_words_is_told_with_its_end() -> None:
    explained = explain_launcher(utils.FailedJobError("one\n\ntwo"))
    assert "refused the jobs: one two;" in str(explained)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "Job 92_1 (task: 0) with path /x\nhas not produced any output (state: NODE_FAIL)\n",
            "job 92_1 of the cluster (NODE_FAIL)",
        ),
        ("no word of it", "a job of the cluster ended"),
    ],
)
def test_a_lost_job_is_named_with_its_state(text: str, named: str) -> None:
    explained = explain_launcher(utils.UncompletedJobError(text))
    assert type(explained) is AlmaflowError
    assert named in str(explained)
    assert "resume=true" in str(explained)


def test_other_errors_are_nobody_elses() -> None:
    assert explain_launcher(ValueError("Job 1 (state: FAILED)")) is None
