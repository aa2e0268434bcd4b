"""An exported folder as an MLflow model: its signature, and what its pyfunc answers without almaflow's help."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.support.made_exports import made_export

from almaflow.records import TensorSpec
from almaflow.records.export import Format
from almaflow.tracking import mlmodel
from almaflow.tracking.mlmodel import signature_of, write_mlmodel
from almaflow.tracking.session import quiet

if TYPE_CHECKING:
    from pathlib import Path

TOKENS, MASK, X = np.array([[3, 1]]), np.array([[True, False]]), np.ones((1, 2), np.float32)
LOGGED: Any = SimpleNamespace(artifact_location="file:/nowhere", model_id="m-1", source_run_id="r1")


def as_mlflow_model(directory: Path, answer: str, inputs: Any, outputs: Any, **fields: Any) -> Path:
    """The folder of a logged model."""
    folder, whole = directory / "folder", directory / "whole"
    export = made_export(folder, answer, inputs, outputs, **fields)
    with quiet():
        write_mlmodel(whole, export, folder, LOGGED)
    shutil.copytree(whole, folder, dirs_exist_ok=True)  # as the files in the store: what is added comes last
    return folder


def loaded(whole: Path) -> Any:
    import mlflow

    with quiet():
        return mlflow.pyfunc.load_model(str(whole))


def test_inputs_by_name_keep_their_types_and_outputs_too(tmp_path: Path) -> None:
    inputs = {"tokens": TOKENS, "mask": MASK, "x": X}
    outputs = {"scores": X.astype(np.float16), "top": TOKENS, "any": np.array(True)}
    answer = "{'scores': (args[2] * args[0]).astype(np.float16), 'top': args[0], 'any': args[1].any()}"
    model = loaded(as_mlflow_model(tmp_path, answer, inputs, outputs))
    found = model.predict(inputs)
    assert {name: (each.dtype.name, each.tolist()) for name, each in found.items()} == {
        "scores": ("float16", [[3.0, 1.0]]),
        "top": ("int64", [[3, 1]]),
        "any": ("bool", True),
    }
    with pytest.raises(Exception, match=r"Shape of input \(2, 2\) does not match expected shape \(1, 2\)"):
        model.predict(inputs | {"x": np.ones((2, 2), np.float32)})
    with pytest.raises(Exception, match="dtype of input float32 does not match expected dtype int64"):
        model.predict(inputs | {"tokens": X})
    assert {name: each.tolist() for name, each in model.input_example.items()} == {
        name: each.tolist() for name, each in inputs.items()
    }


def test_one_output_without_a_name_is_an_array_and_several_are_numbered(tmp_path: Path) -> None:
    one = loaded(as_mlflow_model(tmp_path / "one", "2 * args[0]", {"x": X}, {"": X}))
    assert one.predict(X).tolist() == [[2.0, 2.0]]
    several = loaded(as_mlflow_model(tmp_path / "two", "(args[0], [args[0] + 1])", {"x": X}, {"0": X, "1.0": X}))
    assert {name: each.tolist() for name, each in several.predict({"x": X}).items()} == {
        "0": [[1.0, 1.0]],
        "1.0": [[2.0, 2.0]],
    }
    # A runtime that forgets the names keeps the order.
    unnamed = loaded(as_mlflow_model(tmp_path / "three", "(args[0], args[0] + 1)", {"x": X}, {"a": X, "b": X}))
    assert unnamed.predict({"x": X})["b"].tolist() == [[2.0, 2.0]]


def test_plain_numbers_have_the_type_that_the_signature_says(tmp_path: Path) -> None:
    outputs = {"x": X, "loss": np.array(0.5, np.float32)}
    model = loaded(as_mlflow_model(tmp_path, "{'x': args[0], 'loss': 0.5}", {"x": X}, outputs))
    found = model.predict({"x": X})
    assert (found["loss"].dtype.name, found["loss"].tolist()) == ("float32", 0.5)
    alone = loaded(as_mlflow_model(tmp_path / "alone", "0.5", {"x": X}, {"": np.array(0.5, np.float32)}))
    assert alone.predict({"x": X}).dtype.name == "float32"


def test_complex_inputs_are_taken_and_have_no_example_in_json(tmp_path: Path) -> None:
    z = np.array([[1 + 2j]], np.complex64)
    model = loaded(as_mlflow_model(tmp_path, "2 * args[0]", {"z": z}, {"": z}))
    assert model.input_example is None
    assert model.predict({"z": z}).tolist() == [[2 + 4j]]


def test_two_models_in_one_process_do_not_meet(tmp_path: Path) -> None:
    first = loaded(as_mlflow_model(tmp_path / "one", "2 * args[0]", {"x": X}, {"": X}))
    second = loaded(as_mlflow_model(tmp_path / "two", "3 * args[0]", {"x": X}, {"": X}))
    assert (first.predict(X)[0, 0], second.predict(X)[0, 0]) == (2.0, 3.0)


def test_what_compiles_at_its_first_call_is_called_when_it_is_loaded(tmp_path: Path) -> None:
    model = loaded(
        as_mlflow_model(tmp_path, "model.__dict__.setdefault('first', args[0])", {"x": X}, {"": X}, compiles=True)
    )
    assert model.predict(5 * X).tolist() == X.tolist()


def test_a_module_that_is_missing_is_told_with_what_to_do(tmp_path: Path) -> None:
    whole = as_mlflow_model(tmp_path, "0", {"x": X}, {"": X}, builder="my_code.nets.Net")
    for missing, advice in (
        ("my_code.nets", "load.py calls my_code.nets.Net, which is your code; put the directory of it into PYTHONPATH"),
        ("no_such_runtime", f"pip install -r {whole / 'requirements.txt'}"),
    ):
        (whole / "load.py").write_text(f"import {missing}\n", encoding="utf-8")
        with pytest.raises(ModuleNotFoundError) as raised:
            loaded(whole)
        assert str(raised.value) == f"ONNX_CPU of mine needs the module {missing.partition('.')[0]}: {advice}"


def test_almaflow_is_installed_where_it_builds_the_module(tmp_path: Path) -> None:
    whole = as_mlflow_model(tmp_path, "0", {"x": X}, {"": X}, builder="almaflow.zoo.Net")
    (whole / "load.py").write_text("import almaflow.zoo\n", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError) as raised:
        loaded(whole)
    advice = f"pip install -r {whole / 'requirements.txt'}"
    assert str(raised.value) == f"ONNX_CPU of mine needs the module almaflow.zoo: {advice}"


def test_the_environment_has_the_versions_of_the_job_and_no_pickle_travels(tmp_path: Path) -> None:
    whole = as_mlflow_model(tmp_path, "args[0]", {"x": X}, {"": X}, kind=Format.ONNX)
    required = (whole / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line.partition("==")[0] for line in required} == {"mlflow", "numpy", "onnx"}
    assert all("==" in line for line in required)
    assert not list(whole.rglob("*.pkl"))
    import mlflow

    model = mlflow.models.Model.load(str(whole))
    assert model.model_id == "m-1"
    assert model.flavors["onnx"]["data"] == "model.bin"
    assert model.flavors["python_function"]["loader_module"] == "mlflow.pyfunc.loaders.code_model"
    assert (model.model_size_bytes or 0) > 1000


def test_a_large_example_stays_in_the_folder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlmodel, "MOST_ELEMENTS", 1)
    assert loaded(as_mlflow_model(tmp_path, "args[0]", {"x": X}, {"": X})).input_example is None


def test_the_signature_says_which_sizes_may_change(tmp_path: Path) -> None:
    export = made_export(tmp_path / "folder", "args[0]", {"x": X}, {"": X})
    changing = TensorSpec((1, 3, 8), "bfloat16", "x", ("batch", None, "length"))
    signature = signature_of(replace(export, inputs=(changing, TensorSpec((), "int32", "n")), outputs=()))
    assert [(each.name, each.type.name, each.shape) for each in signature.inputs.inputs] == [
        ("x", "float32", (-1, 3, -1)),
        ("n", "int32", ()),
    ]
    assert signature.outputs is None
