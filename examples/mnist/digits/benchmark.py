"""Measure the trained network from Python: ``python -m digits.benchmark``. ``almaflow run`` does the same."""

from __future__ import annotations

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import almaflow
from digits.data import batches
from digits.network import trained

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the conversions, print the table, and tell why any failed."""
    parser = ArgumentParser(
        "python -m digits.benchmark", description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--directory", type=Path, default=Path("trained"), help="what python -m digits.train wrote to")
    parser.add_argument("--conversions", default="EAGER,ONNX_CPU,QAT_INT8", help="names or Alma's numbers, with commas")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--random", action="store_true", help="random images, not those of the test set")
    parser.add_argument("--measure", choices=("quick", "default", "thorough"), default="default")
    parser.add_argument("--output", type=Path, help="a file for the result as JSON")
    asked = parser.parse_args(arguments)

    weights, graph = asked.directory / "float.safetensors", asked.directory / "qat.pt2"
    # Not the network but what builds it: each worker then builds one, and this process keeps none.
    build = partial(trained, weights.resolve(), graph.resolve() if graph.exists() else None)
    given: dict[str, Any] = {"data_loader": batches("test", str(asked.directory), asked.batch_size)}
    if asked.random:
        _, _, height, width = next(iter(given["data_loader"]))[0].shape
        given = {"example_input": torch.rand(asked.batch_size, 1, height, width)}
    result = almaflow.validate(
        build,
        model_name="digits",
        conversions=asked.conversions.split(","),
        batch_size=asked.batch_size,
        measure=asked.measure,
        output=asked.output,
        evaluate=None if asked.random else "top1",
        **given,
    )
    result.print(tracebacks=True)


if __name__ == "__main__":
    main()
