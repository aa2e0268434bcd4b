"""Models that draw random numbers at each call, and one that only could."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody imports it
from tests.models.corpus.example import PLAIN, WHOLE_GRAPH, always_ok, example, floats, may_be_wrong
from torch import Tensor, nn

FROZEN_DRAWS = may_be_wrong(
    "OPENVINO*", "*COMPILE_OPENVINO", why="OpenVINO draws the same at each call, and loses the rows behind dropout"
)


@example(floats(64), random=True, rules=(FROZEN_DRAWS,))
class DropoutAlways(nn.Module):
    """Dropout by the function, which is on in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(F.dropout(x, 0.1))


@example(floats(16), random=True, rules=(FROZEN_DRAWS,))
class VariationalDecoder(nn.Module):
    """A variational autoencoder that samples from its code."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.spread, self.decoder = nn.Linear(16, 4), nn.Linear(16, 4), nn.Linear(4, 16)

    def forward(self, x: Tensor) -> Tensor:
        code = self.mean(x) + self.spread(x).exp() * torch.randn(x.shape[0], 4)
        return self.decoder(code)


@example(floats(16), random=True, rules=(FROZEN_DRAWS,))
class Samples(nn.Module):
    """A policy that samples an action, and gives its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.line(x)
        return torch.multinomial(logits.softmax(-1), 1), logits


@example(floats(16), rules=(always_ok(*PLAIN, why="dropout does nothing in evaluation mode"),))
class DropoutInEval(nn.Module):
    """Dropout layers of every sort, all of them off."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(16, 16), nn.Dropout(0.5), nn.ReLU(), nn.AlphaDropout(0.5), nn.Linear(16, 4), nn.Dropout1d(0.5)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@example(floats(16), rules=(may_be_wrong(*WHOLE_GRAPH, why="a graph may keep the generator, and not its seeding"),))
class SeedsItself(nn.Module):
    """Draws with a generator of its own that is seeded at each call, so the same call answers alike."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        return self.line(x) + torch.randn(16, generator=generator)
