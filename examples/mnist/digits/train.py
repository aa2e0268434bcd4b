"""Train the network: ``python -m digits.train``. Writes its weights and the splits of the data to a folder."""

from __future__ import annotations

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

from digits import data
from digits.network import Net
from digits.scores import Score, predicted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from digits.data import Split

BATCH = 32


def fit(model: torch.nn.Module, split: Split, epochs: int, rate: float, seed: int) -> None:
    """Train a model in place; the learning rate falls to zero along half a cosine.

    Args:
        model: In training mode; an exported graph has no other way to say so than its operators.
        split: Images as floats, and labels.
        epochs: How often each image is seen.
        rate: Learning rate of Adam at the start.
        seed: Of the order of the images.
    """
    images, labels = split
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = epochs * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and print the share of test images that are read right."""
    parser = ArgumentParser(
        "python -m digits.train", description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", choices=("digits", "mnist"), help="default: mnist if it is there, else digits")
    parser.add_argument("--folder", type=Path, default=Path("data"), help="where MNIST is, or is downloaded to")
    parser.add_argument("--to", type=Path, default=Path("trained"), help="the folder that is written to")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)

    splits = data.read(asked.data, asked.folder, asked.seed)
    asked.to.mkdir(parents=True, exist_ok=True)
    data.save(splits, asked.to)
    torch.manual_seed(asked.seed)
    model = Net(side=splits["test"][0].shape[-1])
    images, labels = splits["train"]
    fit(model.train(), (data.floats(images), labels), asked.epochs, rate=5e-3, seed=asked.seed)
    save_file(model.state_dict(), asked.to / "float.safetensors")
    images, labels = splits["test"]
    print(f"{Score.of(predicted(model.eval(), data.floats(images)) == labels)} of {len(labels)} test images are right")


if __name__ == "__main__":
    main()
