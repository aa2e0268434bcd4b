"""Models and inputs that runtimes are apt to read wrongly: odd strides, types, sizes, and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

Inputs = tuple[torch.Tensor, ...]


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.relu(self.first(x))
        return y


class Pair(nn.Module):
    """Not symmetric, so that inputs must not be swapped or shared."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.line(x) + 2 * y
        return z


class Skips(Pair):
    """Uses its first and its last input only."""

    def forward(self, x: torch.Tensor, _unused: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x, y)


class Answers(Pair):
    """Outputs of all kinds: the same tensor twice, an input, nothing, numbers, nested ones; keys out of order."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:  # type: ignore[override]
        z = super().forward(x, y)
        return {"z": z, "a": z.sum(1), "again": z, "input": x, "none": None, "n": 3, "f": 2.5, "b": [y * 2, z.sum()]}


class Kinds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor, keep: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z = self.line(torch.where(keep, x, -x))
        return z, keep.logical_not(), x > 0, z[index], index + 1


class Scales(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.line(x) * scale, scale + 1


class Writes(nn.Module):
    """Changes its first input before it uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.sub_(0.5)
        z: torch.Tensor = self.line(x) * y
        return z


class Typed(nn.Module):
    """Weights and inputs of one type, and an output of another."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-1, 1, 6).to(dtype))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (x * self.scale).relu(), x.float() + 1


class Mixed(nn.Module):
    """A model in float32 that takes and returns bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.line(x.float()).bfloat16()
        return y


def _images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def _pair() -> Inputs:
    return _images(4, 6), _images(4, 6) + 1


def _overlapping() -> Inputs:
    memory = _images(36)
    return memory[:24].view(4, 6), memory[6:30].view(4, 6)


def _offset(tensor: torch.Tensor) -> torch.Tensor:
    """The same values in the middle of other memory."""
    memory = torch.full((tensor.numel() + 14,), 1e6, dtype=tensor.dtype)
    inside = memory[7 : 7 + tensor.numel()].view(tensor.shape)
    return inside.copy_(tensor)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Inputs], dict[str, Callable[[Inputs], Inputs]]]] = {
    "images": (
        Images,
        lambda: (_images(2, 3, 8, 8),),
        {
            "channels last": lambda given: (given[0].contiguous(memory_format=torch.channels_last),),
            "transposed": lambda given: (given[0].transpose(2, 3).contiguous().transpose(2, 3),),
            "expanded": lambda given: (given[0][:1, :1].expand(2, 3, 8, 8),),
            "every second": lambda given: (torch.stack([given[0], given[0] + 9], -1)[..., 0],),
            "offset": lambda given: (_offset(given[0]),),
        },
    ),
    "strided examples": (
        Images,
        lambda: (_images(2, 8, 8, 3).permute(0, 3, 1, 2),),
        {"contiguous": lambda given: (given[0].contiguous(),)},
    ),
    "expanded examples": (Images, lambda: (_images(2, 1, 8, 8).expand(2, 3, 8, 8),), {}),
    "pair": (
        Pair,
        _pair,
        {"the same twice": lambda given: (given[0], given[0]), "views": lambda given: (given[0], given[0].flip(0))},
    ),
    "the same twice": (Pair, lambda: (_pair()[0],) * 2, {"others": lambda _given: _pair()}),
    "overlapping": (Pair, _overlapping, {}),
    "unused": (Skips, lambda: (*_pair(), _pair()[1] - 3), {}),
    "answers": (Answers, _pair, {}),
    "kinds": (Kinds, lambda: (_pair()[0], _pair()[1] > 1, torch.tensor([3, 0, 1])), {}),
    "nothing": (Pair, lambda: (torch.zeros(0, 6), torch.zeros(0, 6)), {}),
    "no dimension": (Scales, lambda: (_pair()[0], torch.tensor(3.0)), {}),
    "writes": (Writes, _pair, {}),
    "bfloat16": (lambda: Typed(torch.bfloat16), lambda: (_pair()[0].bfloat16(),), {}),
    "float16": (lambda: Typed(torch.float16), lambda: (_pair()[0].half(),), {}),
    "float64": (lambda: Typed(torch.float64), lambda: (_pair()[0].double(),), {}),
    "mixed": (
        Mixed,
        lambda: (_pair()[0].bfloat16(),),
        {"transposed": lambda given: (given[0].t().contiguous().t(),), "offset": lambda given: (_offset(given[0]),)},
    ),
}
"""A model, what makes its example inputs, and what makes further inputs of them."""


def tried(name: str, case: str, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The errors of a conversion against eager, by the inputs that it was called with; or the failure to build it."""
    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.conversions.catalogue.plan import plan
    from almaflow.models.outputs import flatten_outputs

    make, draw, others = CASES[case]
    planned = plan([name], 1, "cpu", allow_device_override=True)[0]
    torch.manual_seed(1)
    model, example = make().eval(), draw()
    calls = {"example": example} | {way: change(draw()) for way, change in others.items()}
    found: dict[str, Any] = {}
    with torch.no_grad():
        wanted = {way: flatten_outputs(model(*_copies(inputs))) for way, inputs in calls.items()}
        try:
            converted = build(planned, model, BuildInputs([example], 1), skip_repairs=frozenset(skip))
        except Exception as error:  # noqa: BLE001 - the failure is the result
            return {"failure": f"{type(error).__name__}: {error}"[:2000]}
        for way, inputs in calls.items():
            before = _copies(inputs)
            try:
                outputs = [each.clone() for each in flatten_outputs(converted.call(inputs))]
            except Exception as error:  # noqa: BLE001 - the failure is the result
                found[way] = f"{type(error).__name__}: {error}"[:2000]
                continue
            found[way] = _difference(wanted[way], outputs)
            if case != "writes" and any(not torch.equal(a, b) for a, b in zip(before, inputs, strict=True)):
                found[way] = "the inputs were changed"
        found["evidence"] = converted.evidence().fell_back
    return found


def _copies(inputs: Inputs) -> Inputs:
    return tuple(tensor.clone() for tensor in inputs)


def _difference(wanted: list[torch.Tensor], outputs: list[torch.Tensor]) -> str | float:
    shapes = [[(tuple(each.shape), str(each.dtype)) for each in tensors] for tensors in (wanted, outputs)]
    if [shape for shape, _ in shapes[0]] != [shape for shape, _ in shapes[1]]:
        return f"{shapes[1]} instead of {shapes[0]}"
    gaps = [(a.double() - b.double()).abs().max().item() for a, b in zip(wanted, outputs, strict=True) if a.numel()]
    return max(gaps, default=0.0)
