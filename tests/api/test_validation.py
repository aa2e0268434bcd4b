"""``almaflow.validate`` from end to end."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.support import example_jobs as made_jobs

import almaflow
from almaflow.analysis import to_output
from almaflow.api import validation as api
from almaflow.errors import AlmaflowError, UsageError
from almaflow.jobs.keep_setting import NOTHING, Keep
from almaflow.records import EvaluateSpec, FailureKind, Job, PredictionRequest

if TYPE_CHECKING:
    from almaflow.jobs.request import Request
    from almaflow.measure.progress import Progress

X = torch.randn(2, 8)
LINEAR = torch.nn.Linear(8, 4)

SCRIPT = """
import sys, torch, almaflow
print("imported")

class Gated(torch.nn.Module):
    '''Known to this script only.'''
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(10, 4)
        self.head = torch.nn.Linear(4, 3)
    def forward(self, images, ids):
        return self.head(images * self.table(ids))

model = Gated().train()
result = almaflow.validate(
    model, (torch.randn(2, 4), torch.tensor([1, 9])), "gated", conversions=["EAGER", "TORCH_SCRIPT"], measure="quick",
    predicted_latency_ms=0.5, output="r.json", verbose=True, overrides=["measure.compile_cache=warm"],
)
assert model.training
frame = result.to_frame()
assert list(frame["conversion"]) == ["EAGER", "TORCH_SCRIPT"], frame
assert frame["latency_ms"].gt(0).all(), frame
import json
assert json.load(open("r.json")) == result.to_dict()
print("torch" in sys.modules, result.best_conversion)
"""


@pytest.mark.slow
@pytest.mark.alma
def test_a_script_without_a_main_guard(tmp_path: Path, stored_home: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("imported") == 1
    assert lines[1] == f"MLflow store: sqlite:///{stored_home}/mlflow.db, experiment almaflow"
    assert lines[-2].startswith("Open the runs in the MLflow UI: ")
    assert "EAGER: ok" in done.stderr
    told = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (told["model"], told["batch_size"], told["tier"]) == ("gated", 2, 2)
    assert told["best_conversion"] in {"EAGER", "TORCH_SCRIPT"}
    for entry in told["conversions"]:
        assert entry["status"] == "ok", entry
        assert entry["prediction_error_pct"] == pytest.approx(100 * (0.5 - entry["latency_ms"]) / entry["latency_ms"])
    job = json.loads((stored_home / "jobs" / told["job_id"] / "job.json").read_text(encoding="utf-8"))
    assert [spec["shape"] for spec in job["prepared"]["inputs"]] == [[2, 4], [2]]
    assert not Path(job["model"]["pickle_path"]).exists()


@pytest.mark.slow
def test_strict_raises_after_everything_is_recorded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def other_weights_each_time() -> torch.nn.Module:
        torch.manual_seed(random.SystemRandom().randrange(2**32))
        return torch.nn.Linear(8, 4)

    batches = [(torch.randn(2, 8), torch.zeros(2)) for _ in range(3)]
    store = f"sqlite:///{tmp_path}/own.db"
    with pytest.raises(AlmaflowError, match=r"^1 of 1 conversions failed or cannot run here: EAGER \(wrong_output\)"):
        almaflow.validate(
            other_weights_each_time,
            data_loader=batches,
            conversions=["EAGER"],
            measure="quick",
            tracking_uri=store,
            experiment_name="own",
            output=tmp_path / "r.json",
            strict=True,
        )
    assert capfd.readouterr() == ("", "")
    told = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (told["model"], told["batch_size"], told["experiment_name"]) == ("other_weights_each_time", 2, "own")
    assert told["conversions"][0]["failure"] == "wrong_output"
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    run = client.get_run(told["conversions"][0]["run_id"])
    assert run.info.status == "FAILED"
    assert run.data.tags["almaflow.failure"] == "wrong_output"
    assert "model.pkl" not in str(run.data)
    assert client.get_run(told["run_id"]).data.params["model"] == "other_weights_each_time"


class _Ran:
    """Takes the place of the runner: what it was asked to run, and a made-up job as the answer."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.request: Request | None = None
        self.kept: list[str] = []

    def __call__(self, request: Request, progress: Progress) -> Job:
        assert request.model.pickle_path
        assert request.model.batches_path
        self.request = request
        self.kept = sorted(path.name for path in Path(request.model.pickle_path).parent.iterdir())
        progress.start(request.plan)
        progress.warn("something to know")
        progress.measured(self.job)
        return self.job


def ran(monkeypatch: pytest.MonkeyPatch, job: Job) -> _Ran:
    runner = _Ran(job)
    monkeypatch.setattr(api, "run_job", runner)
    return runner


DONE = made_jobs.job(
    made_jobs.ok("EAGER", 20.0, predicted_ms=10.0),
    made_jobs.ok("ONNX_CPU", 5.0, predicted_ms=10.0),
    made_jobs.failed("TORCH_SCRIPT", FailureKind.CRASHED),
    made_jobs.unavailable("COMPILE_TENSORRT"),
)


def test_the_result_has_the_fields_of_the_contract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran(monkeypatch, DONE)
    result = api.validate(LINEAR, X, output=tmp_path / "r.json")
    told = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert result.to_dict() == told
    assert [field.name for field in fields(result)] == list(to_output(DONE))
    assert (result.best_conversion, result.best_latency_ms, result.best_speedup_vs_eager) == ("ONNX_CPU", 5.0, 4.0)
    assert result.headroom is None
    frame = result.to_frame()
    assert list(frame["conversion"]) == ["EAGER", "ONNX_CPU", "TORCH_SCRIPT", "COMPILE_TENSORRT"]
    assert list(frame["status"]) == ["ok", "ok", "failed", "unavailable"]
    assert frame["prediction_error_pct"].tolist()[:2] == [-50.0, 100.0]
    result.to_dict()["conversions"].clear()
    assert len(result.conversions) == 4


def test_the_arguments_reach_the_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runner = ran(monkeypatch, DONE)
    api.validate(
        LINEAR,
        X,
        "it's ${mine}",
        "CPU",
        3,
        ["ONNX_CPU", 0],
        1.5,
        2.5,
        seed=7,
        measure="thorough",
        tracking_uri=f"sqlite:///{tmp_path}/x.db",
        experiment_name="mine",
        fail_fast=True,
        choose={"max": {"latency/p99": 20}, "by": "memory/model_mb"},
        overrides=["measure.min_samples=3", "hardware.threads=1"],
    )
    request = runner.request
    assert request
    assert runner.kept == ["batches.pt", "model.pkl"]
    assert request.model.pickle_path
    assert not Path(request.model.pickle_path).parent.exists()
    assert (request.model.name, request.model.batch_size, request.model.seed) == ("it's ${mine}", 2, 7)
    assert (request.hardware.device, request.hardware.threads, request.tier) == ("cpu", 1, 3)
    assert [planned.name for planned in request.plan] == ["ONNX_CPU", "EAGER"]
    assert (request.measure.min_samples, request.measure.min_time_s) == (3, 10.0)
    assert (request.choose.max, request.choose.by) == ({"latency/p99": 20.0}, "memory/model_mb")
    (predictor,) = request.predictors
    prediction = predictor.predict(PredictionRequest(request.model, request.hardware, request.plan[0], 2))
    assert prediction
    assert (prediction.latency_ms, prediction.energy_j) == (1.5, 2.5)
    assert (request.uri, request.experiment_name, request.fail_fast) == (f"sqlite:///{tmp_path}/x.db", "mine", True)


def test_what_is_evaluated_and_kept_reaches_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = ran(monkeypatch, DONE)
    batches = [(X, torch.zeros(2, dtype=torch.long))]
    for evaluate, target in (("top1", "almaflow.worker.evaluations.top1"), ("mine.figures", "mine.figures")):
        api.validate(LINEAR, data_loader=batches, evaluate=evaluate, keep=["onnx_cpu"], conversions=["ONNX_CPU"])
        assert runner.request
        assert runner.request.evaluate == EvaluateSpec(target)
        assert runner.request.keep == Keep(frozenset({"ONNX_CPU"}), limit_mb=2000.0)
    api.validate(LINEAR, X, keep="none", overrides=["keep_limit_mb=null"])
    assert runner.request
    assert (runner.request.keep, runner.request.evaluate) == (NOTHING, None)


def test_inputs_by_name_reach_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = ran(monkeypatch, DONE)
    sequence, mask = torch.randn(5, 3, 8), torch.zeros(3, 5, dtype=torch.bool)
    api.validate(
        LINEAR, {"input": sequence}, example_kwargs={"mask": mask}, batch_dim=1, padding_mask="mask", model_name="m"
    )
    assert runner.request
    model = runner.request.model
    assert (model.batch_size, model.batch_dim, model.padding_mask, model.attention_mask) == (3, 1, "mask", None)
    assert [(each.name, each.shape, each.batch_dim) for each in model.inputs or ()] == [
        ("input", (5, 8), 1),
        ("mask", (3, 5), None),
    ]
    assert model.directory == str(Path.cwd())
    api.validate(LINEAR, X, batch_dim=None)
    assert (runner.request.model.batch_dim, runner.request.model.batch_size) == (None, 1)


def test_it_says_only_warnings_unless_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ran(monkeypatch, DONE)
    with caplog.at_level(logging.WARNING, "almaflow"):
        api.validate(LINEAR, X)
    assert caplog.messages == ["something to know"]
    assert capsys.readouterr() == ("", "")
    api.validate(LINEAR, X, verbose=True)
    shown = capsys.readouterr()
    assert shown.out.startswith("MLflow store: ")
    assert "Open the runs in the MLflow UI: " in shown.out
    assert "something to know" in shown.err


def test_an_interrupt_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran(monkeypatch, replace(DONE, interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        api.validate(LINEAR, X, output=tmp_path / "r.json", strict=True)
    told = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert told["interrupted"]
    assert told["best_conversion"] == "ONNX_CPU"


def test_strict_names_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran(monkeypatch, DONE)
    with pytest.raises(
        AlmaflowError,
        match=r"2 of 4 .* cannot run here: TORCH_SCRIPT \(crashed\), COMPILE_.*; .* jobs/j1",
    ):
        api.validate(LINEAR, X, strict=True)
    lacking = made_jobs.job(made_jobs.ok(), made_jobs.unavailable("COMPILE_TENSORRT"))
    ran(monkeypatch, lacking)
    with pytest.raises(AlmaflowError, match=r"1 of 2 conversions .* COMPILE_TENSORRT \("):
        api.validate(LINEAR, X, strict=True)
    ran(monkeypatch, replace(lacking, tier=3))
    assert api.validate(LINEAR, X, tier=3, strict=True).best_conversion == "EAGER"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"example_input": None}, "give an example_input"),
        ({"model": "resnet18"}, "model: is a str"),
        ({"model": lambda: LINEAR}, "model_name is required for a lambda"),
        ({"tier": 4}, "tier=4: no such tier; choices: 1, 2, 3"),
        ({"hardware": "H1000"}, "hardware=H1000: no such hardware; nearest: h100; all: `almaflow hardware`"),
        ({"hardware": "Intel-i7-12700K", "overrides": ["hardware.cpu_match=i386"]}, "hardware=i7_12700k: describes"),
        ({"conversions": ["COMPILE_INDUCTR"]}, "COMPILE_INDUCTOR"),
        ({"conversions": "EAGER"}, "must be a list"),
        ({"batch_size": 3}, "batch_size=3: example_input is a batch of 2"),
        ({"predicted_latency_ms": -1.0}, "predicted_latency_ms=-1.0: must be more than 0"),
        ({"output": "no/such/r.json"}, "the directory no/such does not exist"),
        ({"overrides": ["nope=1"]}, "nope: no such key"),
        ({"seed": object()}, "seed: is a object"),
    ],
)
def test_wrong_arguments_are_one_line_and_nothing_runs(
    arguments: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    runner = ran(monkeypatch, DONE)
    with pytest.raises(UsageError, match=line) as caught:
        api.validate(**{"model": LINEAR, "example_input": X, **arguments})
    assert "\n" not in str(caught.value)
    assert runner.request is None
    assert not home.exists()
