"""Write chains of layers as ONNX files, and find the operators that a runtime makes of each, without running any.

The question has ``conversion``, ``threads`` and the ``directory`` for the files, ``chain0.onnx`` and so on; the answer
is a list of operators for each of ``CHAINS``.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from almaflow.conversions.built.onnx_sessions import input_names
from almaflow.models.blocks import network
from almaflow.records import to_dict
from almaflow.records.child_entry import answer_once
from almaflow.worker.operators.chains import CHAINS
from almaflow.worker.operators.graph import GRAPHS


def main(task: dict[str, Any]) -> Any:
    """Export the chains and open them."""
    module = import_module(GRAPHS[task["conversion"]])
    found = []
    for number, (layers, shape) in enumerate(CHAINS):
        path = Path(task["directory"], f"chain{number}.onnx")
        torch.manual_seed(0)
        model = network(layers, list(shape)).eval()
        example = (torch.rand(1, *shape),)
        torch.onnx.export(model, example, str(path), input_names=input_names(1), dynamo=True, external_data=False)
        (opened := path.with_suffix("")).mkdir()
        os.chdir(opened)  # a runtime writes files into the current directory
        copy = opened / path.name
        copy.hardlink_to(path)
        found.append(to_dict(list(module.operators_of(copy, task["threads"]))))
        os.chdir("/")
    return found


if __name__ == "__main__":
    answer_once(main)
