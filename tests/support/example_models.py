"""Models of a few weights, each with something that converters treat differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.models.batches import Batch


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.line(x)
        return y


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(torch.relu(self.first(x))))
        y: torch.Tensor = self.head(x.mean((2, 3)))
        return y


class Normalised(nn.Module):
    """Statistics of its own, and activations of both signs between the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU6(), nn.Conv2d(16, 8, 1))
        self.deep = nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, groups=8), nn.BatchNorm2d(16), nn.ReLU6())
        self.head = nn.Linear(16, 10)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.deep(self.wide(x)).mean((2, 3)))
        return y


class Attention(nn.Module):
    """One block of a transformer: the product of two activations, and a residual that is normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.mix = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.mix(self.norm(x)).chunk(3, -1)
        weights = torch.softmax(query @ key.transpose(1, 2) / 4, -1)
        y: torch.Tensor = self.head(self.norm(x + self.out(weights @ value)).mean(1))
        return y


class Half(Line):
    """A checkpoint in float16, which takes and gives float32."""

    def __init__(self) -> None:
        super().__init__()
        self.line.half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.half()).float()


class Stacks(Line):
    """A product with a constant stack of matrices, as relative positions have it."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: torch.Tensor
        self.register_buffer("stack", torch.randn(2, 3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = super().forward(x).reshape(len(x), 2, 1, 3)
        y: torch.Tensor = heads @ self.stack
        return y


class TwoFloats(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(8, 6)
        self.right = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = torch.relu(self.left(x)) - self.right(y)  # not symmetric: inputs must not be swapped
        return z


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.table(tokens).mean(1))
        return y


class TokensAndFloats(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 6)

    def forward(self, tokens: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.table(tokens).mean(1) + x)
        return y


class Positions(Tokens):
    """Looks its rows up by indices that it computes."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        first = torch.arange(tokens.shape[1] - 1)
        y: torch.Tensor = super().forward(tokens[:, first + 1])
        return y


class Untraceable(Line):
    """FX cannot follow what depends on values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y if x.sum() > 0 else -y


class NoWeights(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) + x


class Breaks(Line):
    """Dynamo captures it in two graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.after = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        torch._dynamo.graph_break()
        z: torch.Tensor = self.after(y)
        return z


class BodyDisabled(nn.Module):
    """Dynamo compiles what is behind a body that it may not enter: a small layer, or no layer at all."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*[nn.Linear(64, 64) for _ in range(4)])
        self.head = head

    @torch._dynamo.disable  # type: ignore[untyped-decorator]
    def heavy(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.heavy(x))
        return y


class RecurrentHead(nn.Module):
    """Nearly all of the work is in an LSTM, one tiny linear layer is behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 64, 2, batch_first=True)
        self.head = nn.Linear(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.lstm(x)[0][:, -1])
        return y


class Gate(nn.Module):
    """Weights, but none in a layer that quantisers take."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 16))
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.norm(x) @ self.weight)


class Uncompilable(Line):
    """Dynamo captures nothing of it."""

    @torch._dynamo.disable  # type: ignore[untyped-decorator]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


class Restless(Line):
    """Dynamo compiles it anew at every call, since it guards on the text."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.text += "a"
        y = super().forward(x)
        return y if self.text else -y


class Gamma(Line):
    """OpenVINO has no logarithm of the gamma function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.lgamma(super().forward(x)).clamp(max=4.0) + 1.0


class Casts(Line):
    """An export guards casts by assertions, which compute nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.double().float())


def hooked() -> nn.Module:
    """A model whose last step is a hook on the model itself."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    model.register_forward_pre_hook(lambda _, inputs: (2 * inputs[0],))
    model.register_forward_hook(lambda _, _inputs, output: output.softmax(-1))
    return model


class OwnCall(Line):
    """A model whose call does more than its forward."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = super().__call__(x * 0.5)
        return scaled


def _floats(*shape: int) -> Callable[[int], Batch]:
    return lambda rows: (torch.randn(rows, *shape),)


def _tokens(rows: int) -> torch.Tensor:
    return torch.randint(0, 20, (rows, 5))


class Keyed(Line):
    """Answers with a dictionary that has None in it."""

    def forward(self, x: torch.Tensor) -> Any:
        return {"scores": super().forward(x), "loss": None}


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Batch]]] = {
    "linear": (Line, _floats(8)),
    "wide": (lambda: nn.Linear(256, 6), _floats(256)),
    "convolutions": (Convolutions, _floats(3, 12, 12)),
    "normalised": (Normalised, _floats(3, 12, 12)),
    "attention": (Attention, _floats(7, 16)),
    "two floats": (TwoFloats, lambda rows: (torch.randn(rows, 8), torch.randn(rows, 8))),
    "tokens": (Tokens, lambda rows: (_tokens(rows),)),
    "positions": (Positions, lambda rows: (_tokens(rows),)),
    "untraceable": (Untraceable, _floats(8)),
    "tokens and floats": (TokensAndFloats, lambda rows: (_tokens(rows), torch.randn(rows, 8))),
    "no weights": (NoWeights, _floats(8)),
    "half": (Half, _floats(8)),
    "stacks": (Stacks, _floats(8)),
    "breaks": (Breaks, _floats(8)),
    "body disabled": (lambda: BodyDisabled(nn.Linear(64, 2)), _floats(64)),
    "all disabled": (lambda: BodyDisabled(nn.ReLU()), _floats(64)),
    "recurrent head": (RecurrentHead, _floats(12, 16)),
    "gate": (Gate, _floats(16)),
    "uncompilable": (Uncompilable, _floats(8)),
    "restless": (Restless, _floats(8)),
    "gamma": (Gamma, _floats(8)),
    "casts": (Casts, _floats(8)),
    "hooked": (hooked, _floats(8)),
    "own call": (OwnCall, _floats(8)),
    "keyed": (Keyed, _floats(8)),
}
"""Each with what makes a batch of its inputs."""
