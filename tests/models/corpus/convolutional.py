"""Convolutions, normalisations, resizing, and weights that are computed from others."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody imports it
from tests.models.corpus.example import PLAIN, always_ok, example, floats, may_be_wrong
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

COMMON = always_ok(*PLAIN, why="every operation is common")
PYTORCH = always_ok("JIT_TRACE", "EXPORT+EAGER", why="PyTorch has every operation")


@example(floats(3, 16, 16), rules=(COMMON,))
class ConvNorms(nn.Module):
    """Batch normalisation with statistics of its own, group, instance and layer normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8)
        self.batch, self.group, self.instance = nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)
        self.head = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 5))
        nn.init.normal_(self.batch.running_mean)  # type: ignore[arg-type]
        nn.init.uniform_(self.batch.running_var, 0.5, 2.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.group(self.batch(self.conv(x)).relu())
        return self.head(self.instance(self.deep(x)).relu().mean((2, 3)))


@example(floats(4, 6, 6), rules=(COMMON,))
class Upsamples(nn.Module):
    """A transposed convolution, sub-pixels, and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, output_padding=1)
        self.pixels = nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x) + self.pixels(x)


@example(floats(2, 6, 8), rules=(PYTORCH,))
class Resizes(nn.Module):
    """Bilinear, bicubic with antialiasing, nearest, and area, to sizes that do not divide."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.conv(x)
        return (
            F.interpolate(x, size=(9, 13), mode="bilinear", align_corners=False),
            F.interpolate(x, size=(4, 5), mode="bicubic", align_corners=False, antialias=True),
            F.interpolate(x, scale_factor=1.5, mode="nearest"),
            F.interpolate(x, size=(3, 5), mode="area"),
        )


@example(floats(2, 6, 6), rules=(PYTORCH,))
class GridSample(nn.Module):
    """A spatial transformer: the picture decides about its own rotation."""

    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Linear(72, 6)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.where(x.flatten(1)).view(-1, 2, 3) * 0.3
        return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)


@example(floats(3, 8, 8), rules=(always_ok("EXPORT+EAGER", why="PyTorch exports every operation"),))
class PadsAndPools(nn.Module):
    """Reflecting and circular padding, maximum with indices, adaptive pools, unfolding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(F.pad(x, (1, 1, 1, 1), mode="reflect"))
        pooled, places = F.max_pool2d(x, 2, return_indices=True)
        back = F.max_unpool2d(pooled, places, [2, 2])
        return F.adaptive_avg_pool2d(back, (3, 2)), F.unfold(x, 3, stride=2)


@example(floats(2, 24), rules=(COMMON,))
class DilatedCausal(nn.Module):
    """Convolutions over time: dilated, padded on the left only, gated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 8, 3, dilation=2), nn.Conv1d(4, 4, 2, dilation=4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.first(F.pad(x, (4, 0))), 1)
        return self.second(F.pad(x, (4, 0))).tanh()


@example(floats(1, 4, 6, 6), rules=(PYTORCH,))
class Volumes(nn.Module):
    """Three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.ConvTranspose3d(4, 2, 2, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@example(floats(3, 8, 8), rules=(COMMON,))
class WeightNorm(nn.Module):
    """Weights by length and direction."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = parametrizations.weight_norm(nn.Conv2d(3, 6, 3))
        self.head = parametrizations.weight_norm(nn.Linear(6, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


@example(floats(8), rules=(PYTORCH,))
class SpectralNorm(nn.Module):
    """Weights over their largest singular value; the vectors stand still in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.line = parametrizations.spectral_norm(nn.Linear(8, 8))
        self.orthogonal = parametrizations.orthogonal(nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.orthogonal(self.line(x).tanh())


class Symmetric(nn.Module):
    """Makes a matrix symmetric."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).mT


@example(floats(6), rules=(COMMON,))
def parametrized() -> nn.Module:
    """A parametrisation of the user's own."""
    line = nn.Linear(6, 6)
    parametrize.register_parametrization(line, "weight", Symmetric())
    return nn.Sequential(line, nn.Tanh())


@example(floats(3, 8, 8), rules=(COMMON,))
class SqueezeExcite(nn.Module):
    """Channels scaled by what the whole picture says, with hard activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.conv(x))
        return x * F.hardsigmoid(self.up(self.down(x.mean((2, 3), keepdim=True)).relu()))


@example(floats(16), rules=(may_be_wrong("*FP16*", "*BF16*", why="iterating amplifies what 16 bits round"),))
class Solves(nn.Module):
    """Linear algebra: a covariance, its Cholesky factor, and a solution."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        y = self.line(x).view(-1, 4, 3)
        covariance = y.mT @ y + torch.eye(3)
        return torch.cholesky_solve(y[:, :1].mT, torch.linalg.cholesky(covariance))
