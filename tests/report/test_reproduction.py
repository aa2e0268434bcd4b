"""The script that a failed conversion leaves does the same again, outside almaflow's runner."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import failed, job
from tests.support.forked_commands import fork

from almaflow.conversions.catalogue.plan import plan
from almaflow.records import DynamicDim, Failure, FailureKind, HardwareSpec, InputSpec, ModelSpec, WorkerTask, from_dict
from almaflow.report.reproduction import reproduction

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.commands import Zygote

    from almaflow.records import Outcome

MODEL = ModelSpec(
    "line", target="torch.nn.Linear", kwargs={"in_features": 8, "out_features": 6}, inputs=(InputSpec((8,)),)
)
HARDWARE = HardwareSpec("cpu", "cpu", 1)


def outcome(name: str, message: str = "it broke") -> Outcome:
    (planned,) = plan([name], 1, "cpu", allow_device_override=True)
    return replace(failed(name), planned=planned, failure=Failure(FailureKind.ERROR, message, "convert", "Traceback"))


def run(script: str, place: Path, zygote: Zygote) -> tuple[int, str, str]:
    """Its exit code, what it printed and what it said of errors."""
    with fork(zygote, ("scripts", script), place, os.environ, place / "stderr.txt") as process:
        printed, _ = process.communicate()
    assert process.returncode is not None
    return process.returncode, printed, (place / "stderr.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("message", ["plain", 'a """quoted""" one', "ends in a backslash\\", "two\nlines", "{braces}"])
def test_it_is_python_and_holds_the_task_whole_whatever_the_failure_says(message: str) -> None:
    made = replace(job(), model=MODEL, hardware=HARDWARE)
    tree = ast.parse(reproduction(outcome("JIT_TRACE", message), made))
    (text,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and '"reference_path"' in str(node.value)
    )
    task = from_dict(WorkerTask, json.loads(str(text)))
    assert (task.model, task.hardware, task.measure) == (MODEL, HARDWARE, made.measure)
    assert task.conversion is not None
    assert task.conversion.name == "JIT_TRACE"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "told"), [("JIT_TRACE", "ok=True"), ("TORCHAO_QUANT_INT8", "quantised_weights")])
def test_it_converts_and_compares_with_eager(name: str, told: str, tmp_path: Path) -> None:
    script = tmp_path / "reproduce.py"
    script.write_text(reproduction(outcome(name), replace(job(), model=MODEL, hardware=HARDWARE)), encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout


ON_TENSOR_CORES = """
import runpy
from almaflow.worker import check

check.arithmetic = lambda *_: "tf32"
runpy.run_path("reproduce.py")
"""


@pytest.mark.slow
def test_it_judges_as_the_worker_does_where_a_gpu_rounds_float32_to_tf32(tmp_path: Path, zygote: Zygote) -> None:
    made = reproduction(outcome("JIT_TRACE"), replace(job(), model=MODEL, hardware=HARDWARE))
    (tmp_path / "reproduce.py").write_text(made, encoding="utf-8")
    (tmp_path / "on_tensor_cores.py").write_text(ON_TENSOR_CORES, encoding="utf-8")
    code, printed, said = run("on_tensor_cores.py", tmp_path, zygote)
    assert code == 0, said
    assert "tolerance_db=25.0" in printed


@pytest.mark.slow
def test_it_tells_what_is_wrong_at_another_size(tmp_path: Path, zygote: Zygote) -> None:
    target = "tests.support.dynamic_models.MeanOverBatch"
    model = replace(MODEL, target=target, kwargs={}, batch_size=4, dynamic=(DynamicDim("batch"),))
    made = reproduction(outcome("JIT_TRACE"), replace(job(), model=model, hardware=HARDWARE))
    (tmp_path / "reproduce.py").write_text(made, encoding="utf-8")
    code, printed, said = run("reproduce.py", tmp_path, zygote)
    assert code == 0, said
    assert "at other sizes:  right at the size of the example, and wrong at batch 6: " in printed


@pytest.mark.slow
def test_it_raises_what_the_conversion_raised(tmp_path: Path, zygote: Zygote) -> None:
    model = replace(MODEL, target="torch.nn.ReLU", kwargs={})
    made = replace(job(), model=model, hardware=HARDWARE)
    (tmp_path / "reproduce.py").write_text(reproduction(outcome("ONNX_CPU_INT8_STATIC"), made), encoding="utf-8")
    code, _, said = run("reproduce.py", tmp_path, zygote)
    assert code == 1
    assert "nothing to quantise" in said
