"""A function is recorded, its two graphs are measured by real workers, and the second time nothing is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from tests.support.two_graphs import predict

import almaflow
from almaflow.jobs.segments import SegmentJobs
from almaflow.profiles.measure import measure_profile
from almaflow.segments.backends import resolve_backends
from almaflow.tracking.reader import conversion_runs
from almaflow.tracking.session import session as store_session
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("hardware.threads=1", "measure.min_samples=8", "measure.min_time_s=0.05", "measure.max_time_s=0.5")
"""One thread spins for nobody, and how well the figures are known does not matter here."""


@pytest.mark.slow
def test_a_function_is_measured_and_the_second_time_nothing_is(stored_home: Path) -> None:
    import torch  # the application's own

    marked, told = almaflow.accelerate(predict), io.StringIO()
    with almaflow.profile("local/EAGER", "local/JIT_TRACE", measure="quick", overrides=QUICK, print_to=told) as session:
        for number in range(8):
            marked(torch.full((16, 64), float(number)))
    assert "measured 2 of 2 segments" in told.getvalue()
    data = session.report().to_dict()
    (function,) = data["functions"]
    totals = {each["conversion"]: each for each in function["totals"]}
    assert {*totals} == {"best", "EAGER", "JIT_TRACE"}
    assert all(each["ms"] > 0 and each["failures"] == 0 for each in totals.values())
    assert totals["best"]["ms"] <= totals["EAGER"]["ms"]
    assert data["covered_pct"] == pytest.approx(100)
    assert [cell["status"] for part in function["segments"] for cell in part["cells"]] == ["ok"] * 4
    runs = list(conversion_runs(resolve_uri(None), "almaflow"))
    assert {run.tags["almaflow.profile_id"] for run in runs} == {session.profile_id}
    assert {run.params["calls"] for run in runs} == {"8"}
    assert session.files.root.parent == stored_home / "profiles"

    (verified,) = session.verify(rounds=6)
    assert verified.ok
    assert {*verified.conversions} == {part["segment_id"] for part in function["segments"]}
    assert verified.predicted_ms is not None
    assert verified.measured_ms > verified.python_ms > 0
    assert session.report().to_dict()["functions"][0]["verification"]["measured_ms"] == verified.measured_ms
    with store_session(resolve_uri(None), "cannot be read") as client:
        ids = [each.experiment_id for each in client.search_experiments()]
        where = "tags.`almaflow.kind` = 'profile'"
        (run,) = client.search_runs(ids, where)
    assert run.data.metrics["verify/measured_ms"] == pytest.approx(verified.measured_ms, rel=1e-3)

    again: list[str] = []
    jobs = SegmentJobs(
        resolve_backends(["local/JIT_TRACE"])[0],
        measure="quick",
        overrides=["measure.fidelity_inputs=4", *QUICK],
    )
    measure_profile(session.profile_id, jobs, tell=again.append)
    assert again[-1].startswith("measured 0 of 2 segments")
    assert len(list(conversion_runs(resolve_uri(None), "almaflow"))) == len(runs)


@pytest.mark.slow
@pytest.mark.usefixtures("stored_home")
def test_what_a_segment_writes_to_its_inputs_is_compared() -> None:
    import torch

    torch.manual_seed(0)
    layer, cache = torch.nn.Linear(64, 64), torch.zeros(8, 64)

    def step(x: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
        cache.index_copy_(0, torch.tensor([3]), torch.relu(layer(x))[None])
        return cache.sum(0)

    marked = almaflow.accelerate(step)
    backends = "local/EAGER", "local/ONNX_CPU", "local/JIT_TRACE"
    with almaflow.profile(*backends, measure="quick", overrides=QUICK, print_to=io.StringIO()) as session:
        for _ in range(4):
            marked(torch.randn(64), cache)
    data = session.report().to_dict()
    (part,) = data["functions"][0]["segments"]
    assert [(each["status"], each["unchecked"]) for each in part["cells"]] == [("ok", False)] * 3
    assert all(each["fidelity_db"] > 80 for each in part["cells"] if each["conversion"] != "EAGER")
    assert session.verify(rounds=3)[0].ok
