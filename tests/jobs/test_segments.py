from __future__ import annotations

import pytest

from almaflow.errors import UsageError
from almaflow.jobs.segments import SegmentJobs, conversions_of


def test_backends_become_conversions_and_eager_is_always_first() -> None:
    assert conversions_of(["local/onnx_cpu", "local/tier1", "local/ONNX_CPU"]) == [
        "EAGER",
        "ONNX_CPU",
        "COMPILE_INDUCTOR_DEFAULT",
    ]


@pytest.mark.parametrize("backend", ["g4dn_xlarge/ONNX_GPU", "ONNX_CPU", "local/NOTHING", "local/tier7"])
def test_unknown_backends_are_refused(backend: str) -> None:
    with pytest.raises(UsageError):
        conversions_of([backend])


def test_jobs_resume_and_keep_no_converted_model() -> None:
    jobs = SegmentJobs(["local/ONNX_CPU"], measure="quick", experiment_name="mine")
    assert (jobs._config.resume, jobs._config.keep, jobs.experiment_name) == ("true", "none", "mine")
    assert jobs._config.conversions == ["EAGER", "ONNX_CPU"]
    assert jobs.uri.startswith("sqlite:")
