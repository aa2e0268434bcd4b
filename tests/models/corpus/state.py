"""Models that keep something between calls: counts, hidden states, tables, statistics, training mode."""

from __future__ import annotations

import torch
from tests.models.corpus.example import PLAIN, WHOLE_GRAPH, always_ok, example, floats, may_be_wrong
from torch import Tensor, nn


@example(floats(8), keeps_state=True)
class Counts(nn.Module):
    """Each call adds one to a buffer that the answer depends on."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.line(x) + self.calls


CALLS = 0
LAST: dict[str, Tensor] = {}


@example(floats(8), keeps_state=True)
class CountsInAGlobal(nn.Module):
    """A global of the module counts the calls, and the answer depends on it."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        global CALLS  # noqa: PLW0603 - what this example is about
        CALLS += 1
        return self.line(x) + 0.1 * CALLS


@example(floats(8), keeps_state=True)
class MixesWithTheLast(nn.Module):
    """A function beside the model keeps the last answer in a dictionary and mixes it into the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return mixed(self.line(x))


def mixed(y: Tensor) -> Tensor:
    """Return the mean of an answer and the one before."""
    last = LAST.get("y", y)
    LAST["y"] = y.detach()
    return 0.5 * (y + last)


@example(
    floats(8),
    keeps_state=True,
    rules=(may_be_wrong("*COMPILE_*", why="dynamo reads the class attribute as it was before the call wrote to it"),),
)
class CountsInItsClass(nn.Module):
    """All models of a class count their calls together."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        type(self).calls += 1
        return self.line(x) + self.calls


@example(floats(8), keeps_state=True)
class CountsInADefault(nn.Module):
    """The default of an argument is a list, which all calls share."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor, seen: list[float] = []) -> Tensor:  # noqa: B006 - what this example is about
        seen.append(1.0)
        return self.line(x) + 0.1 * len(seen)


@example(floats(8), keeps_state=True)
class Recurrent(nn.Module):
    """The hidden state of the last call is an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 8)
        self.hidden: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = self.cell(x, self.hidden)
        return self.hidden


@example(floats(8), keeps_state=True)
class MovingAverage(nn.Module):
    """A buffer is updated in place and subtracted."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
        return self.line(x - self.mean)


@example(floats(1, 8), keeps_state=True)
class KeyCache(nn.Module):
    """A list grows by one key at each call, as a decoder's cache does; the same input twice in a row answers alike."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)
        self.keys: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.keys.append(self.key(x))
        keys = torch.cat(self.keys, 1)
        return (self.query(x) @ keys.mT).softmax(-1) @ keys


@example(
    floats(6, 8),
    rules=(always_ok(*PLAIN, why="the table depends on the shape alone, and is the same for every call"),),
)
class RotaryTable(nn.Module):
    """A table is made at the first call and kept as a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 8)
        self.table: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = (torch.arange(x.shape[1])[:, None] / 10.0 * torch.arange(1, 9)).cos()
        return self.line(x) * self.table


@example(floats(8))
class LastFeatures(nn.Module):
    """The features of the last call are kept to look at; no answer depends on them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 4)
        self.features: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.features = self.body(x)
        return self.head(self.features.relu())


@example(floats(8), rules=(always_ok(*PLAIN, why="nothing reads the counter"),))
class CountsUnread(nn.Module):
    """A Python number counts the calls, and nothing reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.line(x)


@example(
    floats(3, 8, 8),
    batch_size=4,
    in_training=True,
    rules=(may_be_wrong(*WHOLE_GRAPH, why="converters put the layer into evaluation mode, and then it answers else"),),
)
class StaysInTraining(nn.Module):
    """A batch normalisation that evaluation mode does not reach, so that it uses the statistics of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.0)

    def train(self, mode: bool = True) -> StaysInTraining:
        super().train(mode)
        self.norm.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


@example(floats(6), rules=(always_ok(*PLAIN, why="one weight used twice is still one weight"),))
class SharedWeights(nn.Module):
    """The same layer twice, and a decoder that is the encoder's transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.out = nn.Linear(6, 6)
        self.out.weight = self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.layer(torch.tanh(self.layer(x))))) @ self.layer.weight.t()
