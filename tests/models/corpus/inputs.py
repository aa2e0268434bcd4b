"""Models that are called in their own way: by name, with options, with hooks, with several inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tests.models.corpus.example import PLAIN, always_ok, booleans, example, floats, integers

if TYPE_CHECKING:
    from collections.abc import Iterator
from torch import Tensor, nn

BY_NAME = always_ok("EXPORT+EAGER", "ONNX_CPU", why="an input goes to the parameter of its name")
COMMON = always_ok(*PLAIN, why="every operation is common")


@example(floats(6, name="a"), floats(6, name="b"), rules=(BY_NAME,))
class SkipsOptional(nn.Module):
    """Two inputs with an optional parameter between them."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, a: Tensor, scale: Tensor | None = None, b: Tensor | None = None) -> Tensor:
        y = self.line(a)
        if scale is not None:
            y = y * scale[:, :3]
        return y if b is None else y + b[:, :3] * 10


@example(floats(6, name="x"), rules=(BY_NAME,))
class KeywordOnly(nn.Module):
    """Takes its input by keyword only."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, *, x: Tensor) -> Tensor:
        return self.line(x)


@example(floats(6, name="right"), floats(6, name="left"), rules=(BY_NAME,))
class OtherOrder(nn.Module):
    """Inputs are listed in another order than forward has them."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.line(left - 3 * right)


@example(floats(6, name="x"), rules=(BY_NAME,))
class TakesAnything(nn.Module):
    """A wrapper that hands on whatever keywords it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = KeywordOnly()

    def forward(self, **inputs: Tensor) -> Tensor:
        return self.inner(**inputs)


@example(floats(6), floats(6), floats(6), rules=(COMMON,))
class AnyNumber(nn.Module):
    """Takes any number of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, *inputs: Tensor) -> Tensor:
        total = inputs[0]
        for weight, each in enumerate(inputs[1:], 2):
            total = total + weight * each
        return self.line(total)


@example(floats(6, name="pair.0"), floats(6, name="pair.1"), rules=(BY_NAME,))
class TuplePair(nn.Module):
    """Takes a tuple of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return self.line(pair[0] - 3 * pair[1])


@example(floats(6, name="scene.depth"), floats(6, name="scene.image"), rules=(BY_NAME,))
class Scene(nn.Module):
    """Takes a dictionary of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, scene: dict[str, Tensor]) -> Tensor:
        return self.line(scene["image"] - 3 * scene["depth"])


@example(
    floats(1, 8, name="x"),
    *(floats(5, 8, name=f"past.{layer}.{part}") for layer in range(2) for part in range(2)),
    rules=(BY_NAME,),
)
class GivenCache(nn.Module):
    """Keys and values of earlier words, two layers of them, come with the new word, and go back longer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 24) for _ in range(2))

    def forward(self, x: Tensor, past: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        cache = []
        for layer, (old_keys, old_values) in zip(self.layers, past, strict=True):
            query, key, value = layer(x).chunk(3, -1)
            keys, values = torch.cat([old_keys, key], 1), torch.cat([old_values, value], 1)
            x = x + (query @ keys.mT).softmax(-1) @ values
            cache.append((keys, values))
        return x, cache


@example(floats(6, name="x"), floats(6, 6, name="graph", batch_dim=None), rules=(BY_NAME,))
class SharedGraph(nn.Module):
    """Beside the batch comes one matrix for all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        return self.line(x @ graph)


@example(loader="nothing_between", rules=(BY_NAME,))
class NoneBetween(nn.Module):
    """Between two inputs the caller gives None, and behind them a number."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, x: Tensor, mask: Tensor | None, bias: Tensor, scale: float = 1.0) -> Tensor:
        y = self.line(x * scale) + bias[:, :3]
        return y if mask is None else y * mask


def nothing_between() -> Iterator[dict[str, Tensor | float | None]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        x, bias = torch.randn(2, 6, generator=generator), torch.randn(2, 6, generator=generator)
        yield {"x": x, "mask": None, "bias": bias, "scale": 2.0}


@example(floats(6), refused="c")
class NeedsMore(nn.Module):
    """Takes more inputs than are given."""

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return a + b + c


@example(floats(4, 6), integers(4, high=12), booleans(4), rules=(COMMON,))
class SeveralTypes(nn.Module):
    """Floats, integers and booleans."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.line = nn.Embedding(12, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, number: Tensor, kept: Tensor) -> Tensor:
        y = (x + self.embed(number)) * kept[..., None]
        return self.line(y)


@example(floats(6), floats(6), rules=(always_ok("EXPORT+EAGER", why="what is not read may be left out"),))
class IgnoresSecond(nn.Module):
    """Reads only the first of two inputs, so that exporters drop the second."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        del labels
        return self.line(x)


@example(floats(8), rules=(COMMON,))
def hooked() -> nn.Module:
    """A hook on the model itself changes the answer."""
    net = nn.Sequential(nn.Linear(8, 4))
    net.register_forward_hook(lambda _module, _given, made: made.softmax(-1))
    return net


@example(floats(8), rules=(COMMON,))
def hooked_before() -> nn.Module:
    """A hook on the model itself changes the input."""
    net = nn.Sequential(nn.Linear(8, 4), nn.Tanh())
    net.register_forward_pre_hook(lambda _module, given: (given[0] * 2 - 1,))
    return net


@example(floats(8), rules=(COMMON,))
def hooked_inside() -> nn.Module:
    """A hook on an inner layer changes what it gives."""
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    net[0].register_forward_hook(lambda _module, _given, made: made.relu())
    return net


@example(floats(8), rules=(COMMON,))
class OwnCall(nn.Module):
    """A call of its own scales the input before forward."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x)

    def __call__(self, x: Tensor, *rest: Any) -> Any:
        return super().__call__(x * 0.5, *rest)


@example(floats(8), refused="tensor")
class GivesNothing(nn.Module):
    """Gives None."""

    def forward(self, x: Tensor) -> None:
        torch.relu(x)
