"""Models whose Python decides: by shape, by values that the inputs show, and by values that they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tests.models.corpus.example import (
    PLAIN,
    WHOLE_GRAPH,
    always_ok,
    example,
    floats,
    integers,
    never_ok,
    only_with_note,
)
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator


class Branch(nn.Module):
    """Quiet inputs take one layer, loud ones another."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet, self.loud = nn.Linear(32, 8), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 10:
            return self.loud(x)
        return self.quiet(x)


@example(
    floats(32),
    decides_by_values=True,
    rules=(only_with_note(*WHOLE_GRAPH, why="no input is loud, so that half of the model is never compared"),),
)
class RareBranch(Branch):
    """All inputs are quiet."""


@example(
    loader="quiet_and_loud",
    batch_size=1,
    decides_by_values=True,
    rules=(never_ok(*WHOLE_GRAPH, why="one graph has one of the two layers, and the inputs take both"),),
)
class BothBranches(Branch):
    """Every other input is loud."""


def quiet_and_loud() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for scale in (1, 100, 1, 100):
        yield torch.randn(1, 32, generator=generator) * scale


@example(
    floats(16),
    decides_by_values=True,
    rules=(only_with_note(*WHOLE_GRAPH, why="how often the loop runs depends on the values"),),
)
class LoopUntilSmall(nn.Module):
    """Halves until the norm is small."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        while x.norm() > 1:
            x = self.line(x) * 0.5
        return x


@example(
    integers(6, high=3, low=1),
    loader="one_or_two_steps",
    decides_by_values=True,
    rules=(never_ok(*WHOLE_GRAPH, why="the loop's count is an input's value, and the inputs have two of them"),),
)
class StepsFromInput(nn.Module):
    """The number of steps is an input, read as a Python number."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.line = nn.Embedding(3, 8), nn.Linear(8, 8)

    def forward(self, steps: Tensor) -> Tensor:
        x = self.embed(steps)
        for _ in range(int(steps[0, 0].item())):
            x = self.line(x).tanh() - 2 * x
        return x


def one_or_two_steps() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for steps in (1, 2, 1, 2):
        batch = torch.randint(1, 3, (2, 6), generator=generator)
        batch[0, 0] = steps
        yield batch


@example(
    floats(4, 8),
    rules=(always_ok(*PLAIN, why="every call has this shape, so the branch by shape is settled"),),
)
class BranchByShape(nn.Module):
    """Adds a dimension where there is none, and pads short sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            x = x.unsqueeze(1)
        if x.shape[1] < 6:
            x = torch.cat([x, x.new_zeros(x.shape[0], 6 - x.shape[1], x.shape[2])], 1)
        return self.line(x).flatten(1)


@example(floats(4, 8), rules=(always_ok(*PLAIN, why="the loop's length is a shape"),))
class LoopOverTime(nn.Module):
    """A cell is unrolled by Python, and its answers are stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(x.shape[0], 6)
        answers = []
        for step in x.unbind(1):
            hidden = self.cell(step, hidden)
            answers.append(hidden)
        return torch.stack(answers, 1)


@example(floats(8), rules=(always_ok(*PLAIN, why="where chooses inside the graph: both sides are there"),))
class ChoosesByWhere(nn.Module):
    """A branch that is written as tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet, self.loud = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        loud = x.abs().amax(1, keepdim=True) > 1.5
        return torch.where(loud, self.loud(x), self.quiet(x))


@example(
    floats(16),
    decides_by_values=True,
    rules=(only_with_note(*WHOLE_GRAPH, why="the early exit is decided by the values of the first input"),),
)
class EarlyExit(nn.Module):
    """Stops behind the first block if that is sure of its class."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x).relu()
            if self.head(x).softmax(-1).amax() > 0.999:
                break
        return self.head(x)


@example(floats(256))
class HeavyPartOutside(nn.Module):
    """Nearly all of the work is where torch.compile may not enter."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*[nn.Sequential(nn.Linear(256, 256), nn.ReLU()) for _ in range(20)])
        self.head = nn.Linear(256, 4)

    @torch.compiler.disable
    def heavy(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.heavy(x))


@example(floats(16))
class BreaksTheGraph(nn.Module):
    """Python's own arithmetic in the middle: a break that torch.compile has to make."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        torch._dynamo.graph_break()
        return self.second(x.relu())
