"""Each format of exports, once: what was built is loaded in a process without almaflow, and answers as it did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.conversion_child import ROOT, in_child

from almaflow.records.export import read_export
from almaflow.tracking.mlmodel import write_mlmodel
from almaflow.tracking.session import quiet

pytestmark = pytest.mark.slow

CASES = {
    "ONNX_CPU": "tokens and floats",
    "ONNX_CPU_INT8_STATIC": "convolutions",
    "OPENVINO": "tokens and floats",
    "JIT_TRACE": "two floats",
    "BF16+TORCH_SCRIPT": "linear",
    "EXPORT+EAGER": "tokens and floats",
    "EXPORT+AI8WI8_STATIC_QUANTIZED": "convolutions",
    "COMPILE_OPENVINO": "two floats",
    "AOT_INDUCTOR_PACKAGE": "two floats",
    "EXECUTORCH_XNNPACK": "convolutions",
    "EAGER": "tokens and floats",
    "FP16+EAGER": "linear",
    "CHANNELS_LAST+EAGER": "convolutions",
    "COMPILE_INDUCTOR_FREEZING": "linear",
    "OPTIMUM_QUANTO_AI8WI8": "convolutions",
    "TORCHAO_QUANT_INT8": "attention",
    "TORCHAO_QUANT_I4_WEIGHT_ONLY": "attention",
}
"""A conversion, and a model of ``tests.support.example_models``."""
PACKAGES = {"EXECUTORCH_XNNPACK": "executorch"}
HERE = {name: model for name, model in CASES.items() if name not in PACKAGES or find_spec(PACKAGES[name])}

FORMATS = ("ONNX_CPU", "OPENVINO", "JIT_TRACE", "EXPORT+EAGER", "AOT_INDUCTOR_PACKAGE", "EXECUTORCH_XNNPACK", "EAGER")
"""One of each: these are loaded by MLflow too."""

CHECK_ALL = """
import contextlib, io, json, os, runpy, sys
sys.modules["almaflow"] = None
sys.path.append({root!r})
found = {{}}
for name in sorted(os.listdir()):
    if not os.path.isdir(name):
        continue
    sys.modules.pop("load", None)
    before, said = list(sys.path), io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(os.path.join(name, "check.py"), run_name="__main__")
    except SystemExit:
        found[name] = json.loads(said.getvalue().splitlines()[-1])["fault"]
    except BaseException as error:
        found[name] = f"{{type(error).__name__}}: {{error}}"
    sys.path[:] = before
import mlflow, numpy as np
served = {{}}
for name in sorted(os.listdir("../models")):
    whole = os.path.join("../models", name)
    with open(os.path.join(whole, "export.json")) as stream:
        about = json.load(stream)
    with np.load(os.path.join(whole, "example.npz")) as stored:
        given = {{each["name"]: stored[f"input_{{number}}"] for number, each in enumerate(about["inputs"])}}
        wanted = stored["output_0"]
    try:
        answer = mlflow.pyfunc.load_model(whole).predict(given)
        served[name] = [answer.dtype == wanted.dtype, float(abs(answer - wanted).max())]
    except BaseException as error:
        served[name] = f"{{type(error).__name__}}: {{error}}"
found["MLflow"] = served
print(json.dumps(found))
"""


def in_child_exports() -> dict[str, Any]:
    return {name: exported(name, model) for name, model in HERE.items()}


def exported(name: str, model: str) -> str | None:
    """Build one conversion and write it to a directory of its name; why that did not work."""
    import torch
    from tests.support import example_models

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.conversions.catalogue.plan import plan
    from almaflow.conversions.exports.loader import Work
    from almaflow.conversions.exports.write import write_export
    from almaflow.models.call_form import CallForm
    from almaflow.models.outputs import found_outputs
    from almaflow.records import ModelSpec

    planned = plan([name], 1, "cpu", allow_device_override=True)[0]
    make, draw = example_models.MODELS[model]
    torch.manual_seed(1)
    torch.set_num_threads(1)
    module, given = make().eval(), [draw(2) for _ in range(4)]
    names = [each for each in vars(example_models) if vars(example_models)[each] is type(module)]
    work_dir = Path(f"work-{name}")
    work_dir.mkdir()
    os.chdir(work_dir)
    try:
        dtype = getattr(torch, planned.input_dtype)
        cast = [tuple(each.to(dtype) if each.is_floating_point() else each for each in batch) for batch in given]
        with torch.no_grad():
            eager = found_outputs(module(*given[0]))
            converted = build(planned, module, BuildInputs(cast, 1))
            outputs = [each._replace(tensor=each.tensor.clone()) for each in found_outputs(converted.call(cast[0]))]
            write_export(
                Path("..", "exports", name).absolute(),
                Work(
                    planned=planned,
                    model=ModelSpec(model, target=f"tests.support.example_models.{names[0]}"),
                    built=converted.built,
                    batch=cast[0],
                    form=CallForm.flat(len(cast[0])),
                    output_names=tuple(each.name for each in eager),
                    outputs=tuple(each.tensor for each in outputs),
                    threads=1,
                    keeps_memory=True,
                ),
                given[0],
                outputs,
                arithmetic=planned.dtype,
                comparable=True,
            )
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the result
        import traceback

        return f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    finally:
        os.chdir("..")
    return None


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each: why it was not written, or what its check found."""
    directory = tmp_path_factory.mktemp("exports")
    (directory / "exports").mkdir()
    written = in_child(in_child_exports, directory)
    for name in FORMATS:
        if written.get(name, "") is None:
            as_mlflow_model(directory / "exports" / name, directory / "models" / name)
    done = subprocess.run(
        [sys.executable, "-P", "-I", "-c", CHECK_ALL.format(root=str(ROOT))],
        cwd=directory / "exports", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    checked = json.loads(done.stdout.splitlines()[-1])
    files = sorted(directory.glob("exports/*/requirements.txt"))
    resolved = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-index", "--quiet", "--report", "-"]
        + [part for each in files for part in ("-r", str(each))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    checked["pip"] = resolved.stderr if resolved.returncode else json.loads(resolved.stdout)["install"]
    found = {name: why or checked[name] for name, why in written.items()}
    return found | {each: checked[each] for each in ("MLflow", "pip")}


def as_mlflow_model(folder: Path, whole: Path) -> None:
    logged: Any = SimpleNamespace(artifact_location="", model_id="m-1", source_run_id="r1")
    with quiet():
        write_mlmodel(whole, read_export(folder), folder, logged)
    shutil.copytree(folder, whole, dirs_exist_ok=True)


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_it_did_when_it_was_measured(found: dict[str, Any], name: str) -> None:
    if name not in HERE:
        pytest.skip(f"{PACKAGES[name]} is not installed: it fits the newer set of versions only")
    assert found[name] is None, found[name]


@pytest.mark.parametrize("name", FORMATS)
def test_mlflow_loads_each_format_and_gets_the_same_answer(found: dict[str, Any], name: str) -> None:
    if name not in HERE:
        pytest.skip(f"{PACKAGES[name]} is not installed: it fits the newer set of versions only")
    same_type, furthest = found["MLflow"][name]
    assert same_type
    assert furthest < 1e-4


def test_pip_finds_what_every_export_requires_in_the_environment_that_measured_it(found: dict[str, Any]) -> None:
    assert found["pip"] == []  # nothing is to be installed
