"""Models whose answer is not one floating tensor: dictionaries, objects, None, numbers, masks, nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from tests.models.corpus.example import PLAIN, always_ok, example, floats
from torch import Tensor, nn

KEPT = always_ok(*PLAIN, why="every tensor of the answer is there to compare")
TRACED = always_ok("JIT_TRACE", why="a trace has every tensor of the answer by its name")


class TwoHeads(nn.Module):
    """Two heads that see the same features."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 4), nn.Linear(8, 3)


@example(floats(8), rules=(KEPT,))
class Dictionary(TwoHeads):
    """The keys are not in the alphabet's order, one value is None, one a number."""

    def forward(self, x: Tensor) -> dict[str, Tensor | int | None]:
        return {"b": self.b(x), "a": self.a(x), "aux": None, "n": 3}


@example(floats(8), rules=(KEPT,))
class Pair(TwoHeads):
    """Two outputs of other sizes."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), self.b(x)


@example(floats(8), rules=(TRACED,))
class SameShapes(nn.Module):
    """Two outputs of one shape: only their order tells them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.spread = nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"spread": self.spread(x).exp(), "mean": self.mean(x)}


@example(floats(8), rules=(KEPT,))
class WithNone(TwoHeads):
    """A tensor and None."""

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.a(x), None


@dataclass
class Answer:
    """An answer as an object."""

    logits: Tensor
    loss: Tensor | None
    features: list[Tensor]


@example(floats(8), rules=(TRACED,))
class Object(TwoHeads):
    """A dataclass with a list in it."""

    def forward(self, x: Tensor) -> Answer:
        return Answer(self.a(x), None, [self.b(x), x.sum(1)])


class Named(NamedTuple):
    """An answer as a named tuple."""

    logits: Tensor
    features: Tensor


@example(floats(8), rules=(KEPT,))
class NamedPair(TwoHeads):
    """A named tuple."""

    def forward(self, x: Tensor) -> Named:
        return Named(self.a(x), self.b(x))


@example(floats(8), rules=(TRACED,))
class Nested(TwoHeads):
    """Tuples in a list in a dictionary, with text beside them."""

    def forward(self, x: Tensor) -> dict[str, object]:
        return {"levels": [(self.a(x), self.b(x)), (self.a(-x), self.b(-x))], "task": "both"}


@example(floats(8), output_kinds=("mask", "signal"))
class MaskAndScores(TwoHeads):
    """A boolean mask and the scores that it comes from."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.a(x)
        return scores > 0, scores


@example(floats(8))
class EmptyPart(TwoHeads):
    """One output has no elements at all."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), self.b(x)[:, :0]


@example(floats(8))
class Constant(TwoHeads):
    """Beside the answer a table that is the same for every input."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x), torch.arange(5.0)


@example(floats(8), rules=(TRACED,))
class PythonNumber(TwoHeads):
    """Beside the answer a Python number that comes from the values."""

    def forward(self, x: Tensor) -> tuple[Tensor, float]:
        return self.a(x), x.shape[0] * 0.5


@example(floats(8))
class Sparse(TwoHeads):
    """The positive scores as a sparse tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).relu().to_sparse()
