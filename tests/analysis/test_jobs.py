"""A job as a whole: its own figures, older records, and how long working them out takes."""

from __future__ import annotations

import json
import time
from dataclasses import fields, replace

import numpy as np
import pytest
from tests.support.example_jobs import failed, in_rounds, job, ok, unavailable

from almaflow.analysis import analyse, job_metrics, outcome_metrics, to_output
from almaflow.records import Drift, Job, MeasureSpec, from_dict, to_dict

ROUNDS_ONLY = ("latency/rounds", "latency/ci", "latency/device", "machine/", "energy/", "speedup/vs_", "noise/proc")


def test_records_of_before_there_were_rounds_give_what_they_gave() -> None:
    """As they are on disk: without the fields that came later."""
    now = job(ok("EAGER", 20.0), ok("COMPILE_INDUCTOR_DEFAULT", 10.0), ok("ONNX_CPU", [4.0, 5.0, 9.0]))
    data = json.loads(json.dumps(to_dict(now)))
    del data["drift"], data["hardware"]["cpus"]
    for name in ("rel_precision", "replicates", "interleave", "streams"):
        del data["measure"][name]
    for outcome in data["outcomes"]:
        for name in ("rounds", "device_samples_ms", "model_mb"):
            del outcome["measurement"][name]
    old = from_dict(Job, data)
    assert old == now
    found = outcome_metrics(old, old.outcomes[2])
    assert found["latency_ms"] == 5.0
    assert found["throughput"] == pytest.approx(2 * 1000 / 6)
    assert found["speedup_vs_eager"] == pytest.approx(4.0)
    assert found["speedup_vs_inductor"] == pytest.approx(2.0)
    assert not [name for name in found if name.startswith(ROUNDS_ONLY)]
    json.dumps(to_output(old), allow_nan=False)
    assert not [name for name in job_metrics(old) if name.startswith("machine")]


def test_the_job_has_the_best_the_counts_and_how_far_the_machine_drifted() -> None:
    outcomes = [ok("EAGER", 20.0), ok("COMPILE_INDUCTOR_DEFAULT", 10.0), failed("ONNX_CPU"), unavailable("ONNX_GPU")]
    made = replace(job(*outcomes), started_at=100.0, ended_at=160.0, drift=Drift(20.0, 21.0, resolved=0.02))
    assert job_metrics(made) == {
        "best_latency_ms": pytest.approx(10.0),
        "best_speedup_vs_eager": pytest.approx(2.0),
        "best_speedup_vs_inductor": pytest.approx(1.0),
        "time/job": 60.0,
        "machine/drift_pct": pytest.approx(5.0),
        "machine/drift_resolved_pct": pytest.approx(2.0),
        "conversions_ok": 2.0,
        "conversions_failed": 1.0,
        "conversions_unavailable": 1.0,
    }
    faster = replace(made, drift=Drift(20.0, 19.0, resolved=0.0))
    assert job_metrics(faster)["machine/drift_pct"] == pytest.approx(-5.0)


def test_a_job_that_was_not_watched_to_its_end_has_no_drift_and_a_time_all_the_same() -> None:
    found = job_metrics(replace(job(failed("EAGER")), started_at=time.time() - 5.0))
    assert not [name for name in found if name.startswith(("machine", "best"))]
    assert found["time/job"] == pytest.approx(5.0, abs=1.0)


def long_job(conversions: int, rounds: int, calls: int) -> Job:
    random = np.random.default_rng(0)
    names = ["EAGER", "COMPILE_INDUCTOR_DEFAULT", *(f"CONVERSION_{each}" for each in range(2, conversions))]
    return job(*(in_rounds(ok(name), random.normal(20.0, 1.0, rounds).tolist(), calls=calls) for name in names))


def test_a_long_job_is_analysed_in_far_less_than_it_takes_to_log_it() -> None:
    """All metrics are worked out for every outcome as it ends, again at the end, and for each document."""
    made = long_job(conversions=60, rounds=50, calls=21)
    outcome_metrics(made, made.outcomes[0])  # numpy and scipy are imported, which is paid for once
    began = time.process_time()
    for outcome in made.outcomes:
        outcome_metrics(made, outcome)
    each_s = (time.process_time() - began) / len(made.outcomes)
    began = time.process_time()
    analyse(made)
    # 10 ms and 0.6 s here.
    assert each_s < 0.05
    assert time.process_time() - began < 3.0


def test_every_measuring_setting_has_a_default_so_that_older_jobs_can_be_read() -> None:
    assert from_dict(MeasureSpec, {}) == MeasureSpec()
    assert {field.name for field in fields(MeasureSpec)} >= {"rel_precision", "replicates", "interleave", "streams"}
