"""Models that move, gather and sort values, and outputs whose size the values decide."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody imports it
from tests.models.corpus.example import (
    BFLOAT16,
    FLOAT16,
    PLAIN,
    always_ok,
    example,
    floats,
    integers,
    may_be_wrong,
)
from torch import Tensor, nn

ORDER = may_be_wrong(*FLOAT16, *BFLOAT16, why="rounding lets neighbours change places, and then their numbers differ")


@example(floats(4, 6), rules=(always_ok(*PLAIN, why="einsum is products and sums"),))
class Einsum(nn.Module):
    """A bilinear layer by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 6, 6) / 6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bti,kij,btj->btk", x, self.weight, x)


@example(floats(12), rules=(ORDER,), output_kinds=("signal", "classes"))
class TopK(nn.Module):
    """The three largest scores and where they are."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, places = self.line(x).topk(3)
        return values, places


@example(floats(10), rules=(ORDER,))
class Sorts(nn.Module):
    """Values in order, and the features gathered in that order."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.value = nn.Linear(10, 6), nn.Linear(10, 6)

    def forward(self, x: Tensor) -> Tensor:
        order = self.score(x).argsort(-1, descending=True)
        return self.value(x).gather(1, order)


@example(floats(8), rules=(ORDER,), output_kinds=("classes",))
class ClassOnly(nn.Module):
    """The number of the likeliest class, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x).argmax(-1)


@example(floats(6, 4), integers(6, high=3), rules=(always_ok("JIT_TRACE", "EXPORT+EAGER", why="PyTorch runs it"),))
class ScatterAdd(nn.Module):
    """Sums features by group, as graph networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 5)

    def forward(self, x: Tensor, group: Tensor) -> Tensor:
        y = self.line(x)
        return torch.zeros(x.shape[0], 3, 5).scatter_add(1, group[..., None].expand(-1, -1, 5), y)


@example(floats(8), rules=(always_ok(*PLAIN, why="a running sum is the same everywhere"),))
class CumulativeSum(nn.Module):
    """A monotone answer by a running sum."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(self.line(x)).cumsum(-1)


@example(
    floats(16),
    sizes_by_values=True,
    rules=(always_ok("JIT_TRACE", why="choosing rows by a mask is one operation, whatever their number"),),
)
class KeepsSome(nn.Module):
    """Boxes with a score above zero, so that the number of rows is the input's."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(16, 60)

    def forward(self, x: Tensor) -> Tensor:
        boxes = self.line(x).reshape(-1, 6)
        return boxes[boxes[:, 4] > 0]


@example(floats(8), sizes_by_values=True, rules=(always_ok("JIT_TRACE", why="an empty answer is right"),))
class NothingFound(nn.Module):
    """No score is above the threshold, so that the answer has no rows."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.line(x)
        return y[y[:, 0] > 1e6]


@example(
    integers(5, high=100),
    loader="lengths",
    batch_size=4,
    refused="size",
)
class MeanOfWords(nn.Module):
    """Batches of other lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.line = nn.Embedding(100, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(self.embed(x).mean(1))


def lengths() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(0, 100, (4, length), generator=generator) for length in (5, 7, 6)]


@example(floats(8), rules=(always_ok(*PLAIN, why="one number is an output like any other"),), batch_size=4)
class OneNumber(nn.Module):
    """A scalar over the whole batch, as a loss is."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x).square().mean()


@example(floats(3, 10, 10), rules=(always_ok(*PLAIN, why="sizes are known once the model was called"),))
class LazyLayers(nn.Module):
    """Layers that learn their sizes from the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@example(floats(1), rules=(always_ok(*PLAIN, why="one value a row is enough to compare"),), batch_size=1)
class Scalar(nn.Module):
    """One value in, one out."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x)


@example(floats(4, 6))
class PairwiseDistances(nn.Module):
    """Distances between all pairs, and the upper triangle of them."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.line(x)
        return torch.cdist(y, y).triu(1).roll(1, 1).flip(2)
