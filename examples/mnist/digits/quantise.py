"""Quantise the trained network to int8: ``python -m digits.quantise``.

Post-training quantisation (PTQ) observes the ranges of activations on calibration images. Quantisation-aware training
(QAT) goes on training with the rounding in place, so that the weights get used to it.
"""

from __future__ import annotations

import copy
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from digits import data
from digits.network import trained
from digits.scores import Comparison, Score, predicted

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ("pt2e", "fx")


def main(arguments: Sequence[str] | None = None) -> None:
    """Quantise in both ways, write the models, and print what each reads right of the test images."""
    parser = ArgumentParser(
        "python -m digits.quantise", description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--directory", type=Path, default=Path("trained"), help="what python -m digits.train wrote to")
    parser.add_argument(
        "--mode", choices=MODES, default="pt2e", help="pt2e: torchao on exported graphs; fx: the older FX"
    )
    parser.add_argument("--weight-bits", type=int, default=8, choices=range(2, 9), help="fewer show what QAT is for")
    parser.add_argument("--epochs", type=int, default=10, help="of quantisation-aware training")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)

    mode = import_module(f"digits.{asked.mode}")  # PyTorch may have lost FX graph mode; PT2E works all the same
    model = trained(asked.directory / "float.safetensors")
    calibration, _ = data.saved(asked.directory, "calibration")
    training = data.saved(asked.directory, "train")
    images, labels = data.saved(asked.directory, "test")

    ptq = mode.post_training(copy.deepcopy(model), calibration.split(32), asked.weight_bits)
    torch.manual_seed(asked.seed)
    qat, weights = mode.aware_training(
        copy.deepcopy(model), training, asked.weight_bits, epochs=asked.epochs, seed=asked.seed
    )
    mode.save(ptq, images[:2], asked.directory / f"ptq{mode.SUFFIX}")
    mode.save(qat, images[:2], asked.directory / f"qat{mode.SUFFIX}")
    save_file(weights, asked.directory / "qat.safetensors")

    right = {name: predicted(each, images) == labels for name, each in {"float": model, "PTQ": ptq, "QAT": qat}.items()}
    for name, each in right.items():
        print(f"{name:<6}{Score.of(each)}" + ("" if name == "float" else f"   {Comparison.of(each, right['float'])}"))
    print(f"QAT against PTQ: {Comparison.of(right['QAT'], right['PTQ'])}")


if __name__ == "__main__":
    main()
