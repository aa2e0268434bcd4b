"""Loads the exported model beside this file for MLflow, as its pyfunc.

MLflow runs this file when it loads the model (models from code). ``load.py`` loads the model's files, ``check.py``
takes its answer apart, and ``export.json`` names its inputs and outputs. Only MLflow and what these need has to be
installed.
"""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

HERE = Path(__file__).resolve().parent


class ExportedModel(PythonModel):
    """Answers arrays by the names of inputs with an array, or with arrays by the names of outputs."""

    def load_context(self, context: Any) -> None:  # noqa: ARG002 - MLflow's arguments
        """Load the model, and compile it where it compiles at its first call.

        Raises:
            ModuleNotFoundError: a module that it needs cannot be imported; the message says what to do.
        """
        about = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
        self._inputs = [each["name"] for each in about["inputs"]]
        self._outputs = [each["name"] or "" for each in about["outputs"]]
        self._types = ["float32" if each["dtype"] == "bfloat16" else each["dtype"] for each in about["outputs"]]
        self._one_by_one = Lock()  # a server calls from several threads, and some runtimes take one call at a time
        self._flat = _module("check").flat
        try:
            self._model = _module("load").load()
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(_advice(about, error), name=error.name) from error
        if about["compiles"]:
            with np.load(HERE / "example.npz") as example:
                self._model(*(example[f"input_{number}"] for number in range(len(self._inputs))))

    # MLflow gives a dict of arrays. It warns where there is no type, and checks once more by most of them.
    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:  # noqa: ARG002 - MLflow's
        """Return the model's answer.

        Args:
            context: What MLflow hands over.
            model_input: An array for each input, by its name, as the signature says.
            params: Nothing; the model has none.
        """
        given = [model_input[name] for name in self._inputs]
        with self._one_by_one:
            arrays = list(self._flat(self._model(*given)))
        named = dict(arrays)
        if not all(name in named for name in self._outputs):
            named = dict(zip(self._outputs, (array for _, array in arrays), strict=True))
        # Plain numbers of Python's come back in its own types, and not in those that the signature says.
        typed = {name: named[name].astype(kind) for name, kind in zip(self._outputs, self._types, strict=True)}
        return typed[""] if self._outputs == [""] else typed


def _module(name: str) -> Any:
    """Return a module of this directory; no other one finds it by its name."""
    spec = spec_from_file_location(f"{name} of {HERE}", HERE / f"{name}.py")
    if spec is None or spec.loader is None:
        message = f"{HERE / name}.py cannot be loaded"
        raise ImportError(message)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _advice(about: dict[str, Any], error: ModuleNotFoundError) -> str:
    """Return what to do about a module that is missing."""
    lacks = f"{about['conversion']} of {about['model']} needs the module {error.name}"
    builder = about["builder"]
    if builder and not builder.startswith("almaflow.") and f"{builder}.".startswith(f"{error.name}."):
        return f"{lacks}: load.py calls {builder}, which is your code; put the directory of it into PYTHONPATH"
    return f"{lacks}: pip install -r {HERE / 'requirements.txt'}"


set_model(ExportedModel())
