"""A network of any widths, for toolchain.py."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


def network(widths: Sequence[int]) -> torch.nn.Module:
    """Convolutions of these widths on images of three channels, with what inductor makes kernels of between them."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for before, after in pairwise([3, *widths]):
        layers += [torch.nn.Conv2d(before, after, 3), torch.nn.BatchNorm2d(after), torch.nn.GELU()]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Softmax(1)).eval()
