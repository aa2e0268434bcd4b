"""Handwritten digits: scikit-learn's, which lie in its package, or MNIST, which torchvision downloads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Mapping

WHITE = 255
CALIBRATION = 256
"""So many images of the training set calibrate quantisers: none that a model is judged on."""
TEST_SHARE = 0.4

Split = tuple[torch.Tensor, torch.Tensor]
"""Images (N, 1, side, side) as uint8, and labels (N) as int64."""


def read(data: str | None, folder: Path, seed: int) -> dict[str, Split]:
    """Read the splits ``train``, ``calibration`` and ``test``; the calibration images are training images.

    Args:
        data: ``digits`` is scikit-learn's, 1,797 images of 8 by 8. ``mnist`` is MNIST, 70,000 images of 28 by 28,
            downloaded where it is not in the folder yet. None: MNIST if it is in the folder, else ``digits``.
        folder: Where MNIST is, or is to be.
        seed: Of the order in which scikit-learn's images are split. MNIST has a split of its own.
    """
    here = (folder / "MNIST" / "raw").is_dir()
    train, test = _mnist(folder) if data == "mnist" or (data is None and here) else _digits(seed)
    return {"train": train, "calibration": (train[0][:CALIBRATION], train[1][:CALIBRATION]), "test": test}


def _digits(seed: int) -> tuple[Split, Split]:
    from sklearn.datasets import load_digits

    found = load_digits()
    brightest = found.images.max()
    images = torch.from_numpy((found.images * WHITE / brightest).round()).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(found.target).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    test, train = order[: int(TEST_SHARE * len(order))], order[int(TEST_SHARE * len(order)) :]
    return (images[train], labels[train]), (images[test], labels[test])


def _mnist(folder: Path) -> tuple[Split, Split]:
    from torchvision.datasets import MNIST

    parts = [MNIST(folder, train=train, download=True) for train in (True, False)]
    train, test = [(part.data.unsqueeze(1), part.targets.long()) for part in parts]
    return train, test


def floats(images: torch.Tensor) -> torch.Tensor:
    """Return the images as the network takes them: float32 from 0 to 1."""
    return images.float() / WHITE


def save(splits: Mapping[str, Split], directory: Path) -> None:
    """Write each split to ``NAME.safetensors``."""
    for name, (images, labels) in splits.items():
        save_file({"images": images.contiguous(), "labels": labels.contiguous()}, directory / f"{name}.safetensors")


def saved(directory: Path, name: str) -> Split:
    """Read a split that ``save`` wrote; its images are floats."""
    tensors = load_file(directory / f"{name}.safetensors")
    return floats(tensors["images"]), tensors["labels"]


def batches(
    split: str = "test", directory: str = "trained", batch_size: int = 1, workers: int = 0
) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Return a loader of images and labels, for ``model.data_loader._target_=digits.data.batches``.

    Args:
        split: ``test``, ``calibration`` or ``train``.
        directory: Where ``python -m digits.train`` wrote the splits.
        batch_size: Images in a batch, which has to be the ``batch_size`` of the job.
        workers: Processes of the loader.
    """
    return DataLoader(TensorDataset(*saved(Path(directory), split)), batch_size=batch_size, num_workers=workers)
