"""Alma's side of against_alma.py: its own benchmark, used as its documentation says, in a process of its own.

Works in an empty directory. Writes {"CONVERSION": {"mean_ms": 30.1} or {"error": "..."}} as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ARCH: list[str] = []
"""The model's name. Alma wants a function of a module that builds the model in each child, which it forks."""


def build() -> torch.nn.Module:
    """The model with random weights."""
    from torchvision.models import get_model

    model: torch.nn.Module = get_model(ARCH[0], weights=None).eval()
    return model


def main() -> None:
    """Run Alma's benchmark and write its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arch", help="a classification model of torchvision")
    parser.add_argument("samples", type=int)
    parser.add_argument("result", type=Path)
    parser.add_argument("conversions", nargs="+")
    arguments = parser.parse_args()
    import torch
    from alma import benchmark_model
    from alma.benchmark import BenchmarkConfig

    ARCH.append(arguments.arch)
    Path("model").mkdir()  # where Alma exports to, and fails where it is not there
    config = BenchmarkConfig(
        n_samples=arguments.samples,
        batch_size=1,
        device=torch.device("cpu"),
        multiprocessing=True,
        fail_on_error=False,
        allow_device_override=True,
        allow_cuda=False,  # it would not heed `device` otherwise
        allow_mps=False,
    )
    found = benchmark_model(build, config, arguments.conversions, data=torch.rand(3, 224, 224))
    figures = {
        name: {"mean_ms": 1000 * each["total_inf_time"] / each["total_samples"]}
        if each["status"] == "success"
        else {"error": str(each.get("error"))}
        for name, each in found.items()
    }
    arguments.result.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
