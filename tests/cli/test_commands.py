"""The commands that answer at once, and the check-up."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from almaflow import machine
from almaflow.cli import COMMANDS
from almaflow.cli import checks as checkup
from almaflow.cli.doctor import doctor
from almaflow.cli.hardware import hardware
from almaflow.cli.models import models
from almaflow.conversions.catalogue.requirements import installed

if TYPE_CHECKING:
    import click

CONF = Path(__file__).resolve().parents[2] / "conf"
ICE_LAKE = machine.Machine(
    cpu="Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
    physical_cores=4,
    logical_cores=8,
    threads=3,
    memory_gb=16.0,
    gpus=(),
    driver=None,
    cuda=None,
    os="Linux",
    python="3.12.1",
)
WITH_T4 = replace(
    ICE_LAKE,
    cpu="Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz",
    gpus=(machine.Gpu("Tesla T4", 15_800),),
    driver="580.1",
    cuda="13.0",
)

MAIN = """
import sys
from almaflow.cli import main
try:
    main()
finally:
    print(sorted({"torch", "mlflow", "alma", "onnxruntime", "openvino"} & set(sys.modules)), file=sys.stderr)
"""


def run(command: click.Command, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.exception is None, result.output
    assert (result.return_value or 0) == code, result.output
    return result.output


@pytest.mark.parametrize("arguments", ["models", "hardware", "conversions", "models --json", "hardware --json"])
def test_it_answers_at_once_and_imports_nothing_heavy(arguments: str) -> None:
    started = time.perf_counter()
    command = [sys.executable, "-c", MAIN, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # They take a tenth of that; the rest is for a machine that is busy with other tests.
    assert time.perf_counter() - started < 3.0
    assert done.stderr == "[]\n"
    assert done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_is_for(name: str) -> None:
    command = getattr(import_module(f"almaflow.cli.{name}"), name)
    assert command.name == name
    assert command.help


def test_models_are_the_configs() -> None:
    listed = json.loads(run(models, "--json"))
    assert [entry["name"] for entry in listed] == sorted(file.stem for file in (CONF / "model").glob("*.yaml"))
    by_name = {entry["name"]: entry for entry in listed}
    assert by_name["resnet50"]["arch"] == "resnet50"
    assert by_name["resnet50"]["inputs"] == [{"shape": [3, 224, 224]}]
    assert by_name["simple"]["target"] == "almaflow.models.simple.SimpleCNN"
    assert by_name["custom"]["builds"].endswith("model._target_=PACKAGE.CALLABLE")
    assert by_name["torchvision"]["builds"].endswith("model.arch=NAME")


def test_the_models_table_fits_and_tells_how_any_other_is_given() -> None:
    table, _, others = run(models).partition("\n\n")
    first_words = {line.split(" ")[0] for line in table.splitlines()}
    assert {file.stem for file in (CONF / "model").glob("*.yaml")} <= first_words
    assert max(map(len, table.splitlines())) <= 100
    for line in filter(lambda line: line.startswith("  almaflow run "), others.splitlines()):
        assert shlex.split(line)[:2] == ["almaflow", "run"]
    assert others.count("  almaflow run ") == 3


@pytest.mark.parametrize(
    ("here", "matching", "device"),
    [(ICE_LAKE, ["auto", "cpu", "r6i_large"], "cpu"), (WITH_T4, ["auto", "cpu", "cuda", "g4dn_xlarge", "t4"], "cuda")],
)
def test_hardware_tells_which_configs_match(
    here: machine.Machine, matching: list[str], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "describe", lambda: here)
    monkeypatch.setattr("almaflow.cli.hardware.describe", lambda: here)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "2.14.1")
    told = json.loads(run(hardware, "--json"))
    assert told["machine"]["cpu"] == here.cpu
    assert (told["machine"]["threads"], told["machine"]["device"]) == (3, device)
    assert len(told["machine"]["gpus"]) == len(here.gpus)
    configs = told["configs"]
    assert [config["name"] for config in configs] == sorted(file.stem for file in (CONF / "hardware").glob("*.yaml"))
    assert [config["name"] for config in configs if config["matches"]] == matching
    assert all(bool(config["reason"]) != config["matches"] for config in configs)
    text = run(hardware)
    assert here.cpu in text
    assert "3 for each measurement" in text
    assert all(gpu.name in text for gpu in here.gpus)


def quick_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what starts processes, and MLflow."""
    for name in ("_alma", "_eager"):
        monkeypatch.setattr(checkup, name, lambda name=name: checkup.Finding(name, ok=True, detail="not tried"))


def found(code: int) -> dict[str, dict[str, Any]]:
    told = json.loads(run(doctor, "--json", code=code))
    assert told["ok"] == (code == 0)
    return {finding["name"]: finding for finding in told["findings"]}


@pytest.mark.alma
def test_doctor_finds_nothing_wrong(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    quick_findings(monkeypatch)
    findings = found(0)
    assert {"python", "almaflow", "compiler", "device", "extra tensorrt", *checkup.STACK} <= findings.keys()
    assert findings["home"]["detail"] == str(home)
    assert findings["store"]["detail"] == f"sqlite:///{home}/mlflow.db, which the first job makes"
    assert [name for name, finding in findings.items() if not finding["ok"]] == []


def test_doctor_says_what_is_wrong_and_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path) -> None:
    quick_findings(monkeypatch)
    home.write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    wrong = {"mlflow": "2.0", "openvino": None}
    monkeypatch.setattr("almaflow.cli.checks.installed", lambda name: wrong[name] if name in wrong else installed(name))
    findings = found(1)
    assert {name for name, finding in findings.items() if not finding["ok"]} == {
        *("mlflow", "openvino", "compiler", "home", "store")
    }
    assert all(findings[name]["todo"] for name in ("mlflow", "openvino", "compiler", "home", "store"))
    assert findings["mlflow"]["todo"].startswith("pip install 'mlflow")
    assert "mlflow: 2.0 is installed" in run(doctor, code=1)


def test_doctor_sees_that_alma_does_not_import() -> None:
    finding = checkup._alma("no_such_alma")
    assert not finding.ok
    assert finding.detail.startswith("does not import: ")
    assert finding.detail.endswith("No module named no_such_alma")


@pytest.mark.slow
@pytest.mark.alma
def test_doctor_tries_alma_and_a_worker_in_processes_of_their_own(home: Path) -> None:
    command = [sys.executable, "-c", MAIN, "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stderr == "[]\n"
    findings = {finding["name"]: finding["detail"] for finding in json.loads(done.stdout)["findings"]}
    assert findings["alma"].startswith("imports in ")
    assert findings["worker"].startswith("a tiny model ran through EAGER")
    assert not (home / "jobs").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("almaflow ", list(COMMANDS)),
        ("almaflow mo", list(COMMANDS)),
        ("almaflow run model=resnet1", ["model=resnet101", "model=resnet152", "model=resnet18"]),
        ("almaflow run tier=2 measure.min_", ["measure.min_samples=", "measure.min_time_s="]),
        ("almaflow run tier=9 measure.min_", []),
    ],
)
def test_the_shell_is_told_how_a_line_may_go_on(line: str, words: list[str]) -> None:
    command = [sys.executable, "-m", "almaflow", "-sc", "query=bash"]
    environment = os.environ | {"COMP_LINE": line}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == words
    assert done.stderr == ""


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_completion_works_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "almaflow"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m almaflow "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    script = """
eval "$(almaflow run -sc install=bash)"
COMP_LINE="almaflow run model=resnet15" COMP_CWORD=2
hydra_bash_completion
echo "${COMPREPLY[@]}"
complete -p almaflow > /dev/null
"""
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("model=resnet152\n", "")
