"""Who owns which memory: inputs that are written to, given back, shared, or laid out in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tests.models.corpus.example import PLAIN, always_ok, example, floats
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY_LAYOUT = always_ok(*PLAIN, "AOT_INDUCTOR_PACKAGE", why="values count, not how they lie in memory")
COPIES = always_ok(*PLAIN, why="each call gets inputs that nobody has written to")


@example(floats(8), writes_inputs=True, rules=(COPIES,))
class Subtracts(nn.Module):
    """Subtracts from its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x.sub_(0.5)
        return self.line(x)


@example(floats(3, 32, 32), writes_inputs=True, rules=(COPIES,))
class Normalises(nn.Module):
    """Normalises the caller's picture in place, as much preprocessing does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.45
        x /= 0.225
        return self.conv(x).mean((2, 3))


@example(floats(6), floats(6), writes_inputs=True)
class AddsToSecond(nn.Module):
    """Adds to its second input, and gives it back."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)

    def forward(self, x: Tensor, total: Tensor) -> Tensor:
        return total.add_(self.line(x))


@example(floats(4, 4), writes_inputs=True)
class ClampsSlice(nn.Module):
    """Writes to a view of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x[:, 0].clamp_(min=0)
        return self.line(x)


@example(floats(3, 16, 16), name="permuted", loader="permuted_pictures", rules=(ANY_LAYOUT,))
@example(floats(3, 16, 16), name="channels_last", loader="channels_last_pictures", rules=(ANY_LAYOUT,))
@example(floats(3, 16, 16), name="every_other", loader="every_other_pixel", rules=(ANY_LAYOUT,))
@example(floats(3, 16, 16), name="expanded", loader="grey_pictures", rules=(ANY_LAYOUT,))
class Pictures(nn.Module):
    """A small network on pictures that are laid out in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.line = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.conv(x).relu().mean((2, 3)))


def permuted_pictures() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        yield torch.rand(2, 16, 16, 3, generator=generator).permute(0, 3, 1, 2)


def channels_last_pictures() -> Iterator[Tensor]:
    for picture in permuted_pictures():
        yield picture.contiguous(memory_format=torch.channels_last)


def every_other_pixel() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        yield torch.rand(2, 3, 32, 32, generator=generator)[:, :, ::2, 1::2]


def grey_pictures() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        yield torch.rand(2, 1, 16, 16, generator=generator).expand(-1, 3, -1, -1)


@example(loader="transposed_rows", rules=(ANY_LAYOUT,))
class TransposedRows(nn.Module):
    """The rows are columns of what is in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x).softmax(-1)


def transposed_rows() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        yield torch.randn(8, 3, generator=generator).t()[:2]


@example(floats(6), floats(6), loader="same_twice", rules=(COPIES,))
class BothInputs(nn.Module):
    """The same tensor comes as both inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.a(a) - 2 * self.b(b)


def same_twice() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        x = torch.randn(2, 6, generator=generator)
        yield x, x


@example(floats(8), returns_own_memory=True)
class GivesBackViews(nn.Module):
    """Beside the answer the input itself, a view of it, and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.line(x), x, x[:, ::2], self.line.weight


@example(floats(8), returns_own_memory=True)
class ReusesBuffer(nn.Module):
    """Writes each answer into the same memory, as code for embedded use does."""

    answer: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)
        self.register_buffer("answer", torch.zeros(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        self.answer.copy_(self.line(x))
        return self.answer
