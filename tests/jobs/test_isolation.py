"""The whole command on a model that crashes, hangs, eats memory, raises or lies in one conversion each."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.command_directory import QUICK, Place

from almaflow import machine

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.commands import Zygote
    from tests.support.forked_commands import ForkedCommand


TROUBLED = ("model._target_=misbehaving_models.Troubled", "model.inputs=[{shape: [6]}]", *QUICK)


@pytest.fixture
def place(tmp_path: Path, zygote: Zygote) -> Place:
    return Place(tmp_path, zygote).with_store()


@pytest.fixture
def foreground() -> Iterator[None]:
    """Commands heed Ctrl-C and SIGHUP, even where the tests were started in the background or by ``nohup``."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in zip((signal.SIGINT, signal.SIGHUP), before, strict=True):
        signal.signal(number, handler)


@pytest.mark.slow
def test_each_trouble_costs_its_own_conversion_only(place: Place) -> None:
    expected = {
        "EAGER": ("ok", None),
        "JIT_TRACE": ("failed", "crashed"),
        "FP16+EAGER": ("failed", "timeout"),
        "BF16+EAGER": ("failed", "out_of_memory"),
        "FP16+JIT_TRACE": ("failed", "error"),
        "TORCH_SCRIPT": ("failed", "wrong_output"),
    }
    code = place.run(
        *TROUBLED,
        f"conversions=[{','.join(expected)}]",
        "measure.time_budget_s=25",
        "measure.memory_limit_mb=3000",
        "output=r.json",
    )
    assert code == 0, place.stderr
    output = json.loads((place.root / "r.json").read_text(encoding="utf-8"))
    entries = {entry["conversion"]: entry for entry in output["conversions"]}
    assert {name: (entry["status"], entry["failure"]) for name, entry in entries.items()} == expected
    assert list(entries) == list(expected)
    assert output["best_conversion"] == "EAGER"
    assert output["best_latency_ms"] == entries["EAGER"]["latency_ms"] > 0
    for name, words in (
        ("JIT_TRACE", "SIGABRT"),
        ("FP16+EAGER", "measure.time_budget_s=25"),
        ("BF16+EAGER", "3000 MB"),
        ("FP16+JIT_TRACE", "ValueError: this model does not like to be traced in half precision"),
        ("TORCH_SCRIPT", "SQNR"),
    ):
        assert words in entries[name]["message"]
        assert words in place.stderr

    runs = place.runs()
    assert set(runs) == {*expected, "job"}
    for name, (status, failure) in expected.items():
        run = runs[name]
        assert run.info.run_id == entries[name]["run_id"]
        assert run.info.status == ("FINISHED" if status == "ok" else "FAILED")
        assert run.data.tags["almaflow.status"] == status
        assert run.data.tags.get("almaflow.failure") == failure
        assert ("latency_ms" in run.data.metrics) == (status == "ok")
        assert "throughput" not in run.data.metrics or status == "ok"
        if status == "ok":  # the store has five digits
            assert run.data.metrics["latency_ms"] == pytest.approx(entries[name]["latency_ms"], rel=1e-4)
    assert runs["job"].info.status == "FINISHED"
    # What was timed before the answer turned out to be wrong is there to be looked at, but not as a headline.
    assert runs["TORCH_SCRIPT"].data.metrics["latency/samples"] >= 1

    directory, _ = place.job()
    log = directory / "conversions" / "01-JIT_TRACE" / "worker.log"
    assert "the last words before the abort" in log.read_text(encoding="utf-8")
    traceback = directory / "conversions" / "04-FP16-JIT_TRACE" / "traceback.txt"
    assert "in _misbehave" in traceback.read_text(encoding="utf-8")
    assert not list(directory.rglob("work"))
    assert not (directory / "reference.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "conversions"), [("strict=true", "FP16+JIT_TRACE"), ("fail_fast=true", "FP16+JIT_TRACE,EAGER")]
)
def test_a_failure_decides_the_exit_code_where_asked(place: Place, setting: str, conversions: str) -> None:
    # One at a time: what is prepared beside one that fails is measured.
    settings = [f"conversions=[{conversions}]", setting, "measure.prepare_jobs=1"]
    assert place.run(*TROUBLED, *settings) == 1, place.stderr
    _, record = place.job()
    assert [outcome["planned"]["name"] for outcome in record["outcomes"]] == ["FP16+JIT_TRACE"]
    assert set(place.runs()) == {"FP16+JIT_TRACE", "job"}
    assert ("fail_fast: stopped after FP16+JIT_TRACE failed" in place.stderr) == (setting == "fail_fast=true")


@pytest.mark.slow
@pytest.mark.usefixtures("foreground")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_keeps_what_was_measured_and_leaves_no_worker(place: Place, number: signal.Signals) -> None:
    if number == signal.SIGINT:  # once as a shell starts it
        place = Place(place.root)
    # One at a time, so that EAGER has its first round before the next one begins.
    settings = ["conversions=[EAGER,FP16+EAGER,BF16+EAGER]", "measure.prepare_jobs=1", "output=r.json"]
    with place.start(*TROUBLED, *settings) as process:
        _wait_for(place, "FP16+EAGER: first call", process)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 130, place.stderr
    assert not psutil.wait_procs(workers, timeout=5)[1]

    runs = place.runs()
    assert {name: run.info.status for name, run in runs.items()} == {
        "EAGER": "KILLED",  # it waited for its turns
        "FP16+EAGER": "KILLED",
        "job": "KILLED",
    }
    assert runs["EAGER"].data.metrics["latency/rounds"] == 1
    assert "latency_ms" not in runs["EAGER"].data.metrics
    directory, record = place.job()
    assert record["interrupted"]
    assert [outcome["interrupted"] for outcome in record["outcomes"]] == [True, True]
    assert json.loads((directory / "conversions" / "00-EAGER" / "samples_ms.json").read_text(encoding="utf-8"))
    output = json.loads((place.root / "r.json").read_text(encoding="utf-8"))
    assert output["interrupted"]
    assert output["best_conversion"] is None


def _wait_for(place: Place, words: str, process: subprocess.Popen[str] | ForkedCommand) -> None:
    deadline = time.monotonic() + 120
    while words not in place.stderr:
        assert process.poll() is None, place.stderr
        assert time.monotonic() < deadline, place.stderr
        time.sleep(0.1)


WRONG_INPUT = {
    "an unknown model": (["model=nope"], ["model=nope", "resnet18"]),
    "no batch": (["batch_size=0"], ["batch_size"]),
    "a misspelt conversion": (["conversions=[COMPILE_INDUCTR]"], ["COMPILE_INDUCTR", "COMPILE_INDUCTOR"]),
    "a target without inputs": (["model._target_=misbehaving_models.Troubled", "model.inputs=null"], ["model.inputs"]),
    "no such device": (["hardware=cuda"], ["cuda", "hardware=cpu"]),
}


@pytest.mark.parametrize("case", WRONG_INPUT)
def test_wrong_input_is_one_line_before_anything_runs(tmp_path: Path, case: str) -> None:
    place = Place(tmp_path)
    if case == "no such device" and machine.describe().gpus:
        pytest.skip("this machine has the GPU that the case is about not having")
    arguments, words = WRONG_INPUT[case]
    began = time.monotonic()
    assert place.run(*arguments) == 2
    assert time.monotonic() - began < 5.0
    (line,) = place.stderr.splitlines()
    assert line.startswith("almaflow: ")
    assert all(word in line for word in words)
    assert not (place.home / "jobs").exists()
    assert not (place.home / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model._target_=nowhere.to.be.found"], ["model._target_=nowhere.to.be.found", "install it"]),
        (
            ["model._target_=misbehaving_models.Troubled", "model.inputs=[{shape: [7]}]"],
            ["(1, 7)", "change model.inputs"],
        ),
    ],
)
def test_a_model_that_does_not_build_or_run_leaves_nothing_behind(
    place: Place, arguments: list[str], words: list[str]
) -> None:
    assert place.run(*TROUBLED, *arguments) == 2
    lines = [line for line in place.stderr.splitlines() if not line.startswith("preparing ")]
    assert len(lines) == 1, place.stderr
    assert lines[0].startswith("almaflow: ")
    assert all(word in lines[0] for word in words)
    assert not list((place.home / "jobs").iterdir())
    assert place.runs() == {}
