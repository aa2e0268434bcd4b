"""Find the operators that a conversion of a model executes, in a process of its own and without running the model.

The question has ``model``, ``conversion`` and ``threads``; the answer is an ``OperatorGraph``.
"""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.errors import UsageError
from almaflow.records import ModelSpec, PlannedConversion, from_dict, to_dict
from almaflow.records.child_entry import answer_once

if TYPE_CHECKING:
    from almaflow.records.operators import OperatorGraph

GRAPHS = {
    "EAGER": "almaflow.worker.operators.eager_graph",
    "ONNX_CPU": "almaflow.worker.operators.onnx_graph",
    "OPENVINO": "almaflow.worker.operators.openvino_graph",
}
"""The module with a function ``graph``, by conversion."""


def main(task: dict[str, Any]) -> Any:
    """Build in a temporary working directory, since converters write files into the current one."""
    with tempfile.TemporaryDirectory(prefix="almaflow-operators-") as scratch:
        os.chdir(scratch)
        planned = from_dict(PlannedConversion, task["conversion"])
        module = import_module(GRAPHS[planned.name])
        found: OperatorGraph = module.graph(
            from_dict(ModelSpec, task["model"]), planned, task["threads"], Path(scratch)
        )
        os.chdir("/")
    return to_dict(found)


if __name__ == "__main__":
    answer_once(main, bad_input=UsageError)
