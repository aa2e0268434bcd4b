"""Inputs reach the parameters of their names, and every converter can take the bound model."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from almaflow.errors import UsageError
from almaflow.models.binding import Parameters, arrange, bind
from almaflow.models.call_form import CallForm, taken_apart

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Scene:
    image: torch.Tensor
    scale: float = 1.0


State = namedtuple("State", ["h", "c"])  # noqa: PYI024 - a user's may be untyped


class Skips(nn.Module):
    """Two inputs with an optional parameter between them."""

    def forward(self, a: torch.Tensor, scale: float = 1.0, b: torch.Tensor | None = None) -> torch.Tensor:
        return a * scale if b is None else a * scale + 10 * b


class ByName(nn.Module):
    def forward(self, *, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x - y


class Nested(nn.Module):
    def forward(self, scene: Any, state: Any, extra: Any = None) -> torch.Tensor:
        h, c = state
        total: torch.Tensor = scene.image * scene.scale + h - 2 * c
        return total if extra is None else total + extra["bias"] * extra["by"]


class Anything(nn.Module):
    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0] - inputs[1]


class AnyName(nn.Module):
    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        return inputs["a"] - inputs["b"]


class Calls(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1

    def __call__(self, x: torch.Tensor) -> Any:
        return super().__call__(10 * x)


def form_of(model: nn.Module, *given: tuple[str | None, Any]) -> tuple[CallForm, list[torch.Tensor]]:
    tensors: list[torch.Tensor] = []
    trees = [(name, taken_apart(value, tensors)) for name, value in given]
    return arrange(trees, Parameters.of(model), "model.inputs"), tensors


ONE, TWO, THREE = torch.full((2, 3), 1.0), torch.full((2, 3), 2.0), torch.full((2, 3), 3.0)
NESTED = ("scene", Scene(ONE, 2.0)), ("state", State(ONE, TWO)), ("extra", {"bias": THREE, "by": 2, "none": None})

CALLS: dict[str, tuple[nn.Module, tuple[tuple[str | None, Any], ...], float, tuple[str, ...]]] = {
    "an optional one is skipped": (Skips(), (("a", ONE), ("b", TWO)), 21.0, ("a", "b")),
    "the other way round": (Skips(), (("b", TWO), ("a", ONE)), 21.0, ("b", "a")),
    "a number": (Skips(), (("a", ONE), ("scale", 3.0)), 3.0, ("a",)),
    "mixed": (Skips(), ((None, ONE), ("b", TWO)), 21.0, ("a", "b")),
    "by name only": (ByName(), (("y", ONE), ("x", THREE)), 2.0, ("y", "x")),
    "nested": (Nested(), NESTED, 5.0, ("scene.image", "state.h", "state.c", "extra.bias")),
    "labels": (Anything(), (("left", THREE), ("right", ONE)), 2.0, ("left", "right")),
    "any name": (AnyName(), (("b", ONE), ("a", THREE)), 2.0, ("b", "a")),
    "scripted": (torch.jit.script(Skips()), (("a", ONE), ("b", TWO)), 21.0, ("a", "b")),
    "own call": (Calls(), ((None, ONE),), 11.0, ("x",)),
}


@pytest.mark.parametrize("case", CALLS)
def test_inputs_reach_the_parameters_of_their_names(case: str) -> None:
    model, given, answer, names = CALLS[case]
    form, tensors = form_of(model, *given)
    assert form.names == names
    assert bind(model.eval(), form)(*tensors).flatten()[0].item() == answer


@pytest.mark.parametrize("case", CALLS)
def test_a_form_is_plain_data(case: str, tmp_path: Path) -> None:
    form, _ = form_of(CALLS[case][0], *CALLS[case][1])
    torch.save({"form": form.to_plain()}, tmp_path / "form.pt")
    assert CallForm.from_plain(torch.load(tmp_path / "form.pt", weights_only=True)["form"]) == form
    assert CallForm.from_plain(json.loads(json.dumps(form.to_plain()))) == form


@pytest.mark.parametrize("case", ["an optional one is skipped", "by name only", "nested", "any name", "own call"])
def test_converters_take_the_bound_model(case: str) -> None:
    model, given, answer, _ = CALLS[case]
    form, tensors = form_of(model, *given)
    bound, batch = bind(model.eval(), form), tuple(tensors)
    torch.compiler.reset()
    taken = {
        "export": torch.export.export(bound, batch).module(),
        "trace": torch.jit.trace(bound, batch, check_trace=False),  # type: ignore[no-untyped-call]
        "fx": torch.fx.symbolic_trace(bound),
        "compile": torch.compile(bound, backend="eager", fullgraph=case != "own call"),
    }
    for name, converted in taken.items():
        assert converted(*batch).flatten()[0].item() == answer, name


@pytest.mark.parametrize("case", ["an optional one is skipped", "the other way round", "by name only"])
def test_a_bound_model_can_be_scripted(case: str) -> None:
    model, given, answer, _ = CALLS[case]
    form, tensors = form_of(model, *given)
    assert torch.jit.script(bind(model, form))(*tensors).flatten()[0].item() == answer


@pytest.mark.parametrize(
    ("model", "given", "line"),
    [
        (Skips(), (("a", ONE), ("scales", TWO)), "takes no 'scales'; nearest: scale"),
        (Skips(), (("x", ONE),), r"model\.inputs: forward\(a, scale, b\) takes no 'x'"),
        (Skips(), ((None, ONE), ("a", TWO)), "'a' is given twice"),
        (ByName(), ((None, ONE), (None, TWO)), r"forward\(\*, x, y\) takes its inputs by name only; name them"),
    ],
)
def test_names_that_do_not_fit_are_refused(model: nn.Module, given: Any, line: str) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        form_of(model, *given)
    assert "\n" not in str(caught.value)


def test_a_model_that_needs_no_binding_stays_itself() -> None:
    for given in (((None, ONE),), (("a", ONE),), (("a", ONE), ("scale", TWO))):
        model = Skips()
        assert bind(model, form_of(model, *given)[0]) is model
    bound = bind(Calls(), CallForm.flat(1))
    assert bind(bound, CallForm.flat(1)) is bound


def test_hooks_of_the_model_itself_run() -> None:
    model = nn.Identity().eval()
    model.register_forward_hook(lambda _module, _given, made: made * 2)
    bound = bind(model, CallForm.flat(1))
    assert bound is not model
    assert not bound.training
    assert bound(ONE).equal(TWO)
    assert torch.export.export(bound, (ONE,)).module()(ONE).equal(TWO)


def test_a_name_that_python_does_not_allow_is_a_parameter_all_the_same() -> None:
    form = CallForm((["list", [["input", 0], ["input", 1]]],), {}, ("in", "0.a b"))
    bound = bind(Listed(), form)
    assert bound(ONE, TWO).equal(THREE)


class Listed(nn.Module):
    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        return parts[0] + parts[1]
