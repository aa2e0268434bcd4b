"""The operators that eager PyTorch dispatches, found on fake tensors: those of a real call, and called again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from almaflow.models.dispatched import DispatchClock, DispatchWatch, place_name
from almaflow.records import from_dict, to_dict
from almaflow.records.operators import Operator
from almaflow.worker.operators.aten_calls import AtenCall
from almaflow.worker.operators.eager_graph import recorded
from almaflow.worker.operators.eager_layers import operators_of_layers

if TYPE_CHECKING:
    from almaflow.models.dispatched import Dispatched

POOL = torch.rand(2**14)


class Small(nn.Module):
    """A convolution with what follows it, and a linear layer with attention behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        made = nn.functional.relu(self.norm(self.convolution(image)), inplace=True)
        tokens = self.linear(made.flatten(2).transpose(1, 2))
        answer: torch.Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return answer


class Names(DispatchWatch):
    """The operators of a real call."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinds: list[str] = []

    def see(self, call: Dispatched) -> None:
        self.kinds.append(str(call.operator))


@pytest.fixture(scope="module")
def operators() -> tuple[Operator, ...]:
    return recorded(Small().eval(), [torch.rand(2, 3, 8, 8)])[0]


def test_the_operators_are_those_of_a_real_call(operators: tuple[Operator, ...]) -> None:
    model, image = Small().eval(), torch.rand(2, 3, 8, 8)
    with torch.no_grad(), Names() as real:
        model(image)
    assert [each.kind for each in operators] == real.kinds
    assert "aten._native_multi_head_attention.default" in real.kinds  # has no kernel for fake tensors


def test_shapes_strides_and_weights_are_told(operators: tuple[Operator, ...]) -> None:
    convolution = operators[0]
    image, weight = (each for each in convolution.inputs if each)
    assert (image.shape, image.constant, image.bytes) == ((2, 3, 8, 8), False, 2 * 3 * 64 * 4)
    assert (weight.shape, weight.constant) == ((8, 3, 3, 3), True)
    assert [each.shape for each in convolution.outputs if each] == [(2, 8, 4, 4)]
    assert convolution.flops == 2 * (2 * 8 * 16) * 27
    (linear,) = (each for each in operators if each.kind == "aten.mm.default")
    transposed = linear.inputs[1]
    assert transposed is not None
    assert (transposed.shape, transposed.layout, transposed.constant) == ((8, 16), "strides 1 8", True)


def test_a_clock_sees_the_same_operators(operators: tuple[Operator, ...]) -> None:
    model, image = Small().eval(), torch.rand(2, 3, 8, 8)
    with torch.no_grad(), DispatchClock() as clock:
        model(image)
    names = [place_name(name, place) for place, (name, _) in enumerate(clock.times_ns)]
    assert names == [each.name for each in operators]
    assert all(taken > 0 for _, taken in clock.times_ns)


def test_modules_and_views_are_counted() -> None:
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.ReLU())
    _, facts = recorded(model, [torch.rand(1, 2, 2)])
    assert facts == {"modules": 4.0, "views": 1.0}


def test_a_key_tells_shapes_apart_and_not_names() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 5))
    one, same, other = recorded(model, [torch.rand(2, 4)])[0]
    assert one.key == same.key
    assert other.key != one.key


def test_each_operator_is_called_again_from_its_description(operators: tuple[Operator, ...]) -> None:
    for each in operators:
        call = AtenCall(from_dict(Operator, to_dict(each)), POOL)
        call.touch()
        args, kwargs = call.sets[-1]
        with torch.no_grad():
            result = call.function(*args, **kwargs)
        first = result[0] if isinstance(result, tuple) else result
        assert tuple(first.shape) == (each.outputs[0].shape if each.outputs[0] else ())


def test_sets_of_weights_are_different_memory() -> None:
    (operator,) = recorded(nn.Linear(64, 64), [torch.rand(2, 64)])[0]
    call = AtenCall(operator, torch.rand(3 * 2**14))
    places = {args[2].data_ptr() for args, _ in call.sets}
    assert len(places) == len(call.sets) > 1


def test_strides_of_weights_are_kept_in_the_pool() -> None:
    (operator,) = recorded(nn.Linear(64, 32), [torch.rand(2, 64)])[0]
    for args, _ in AtenCall(operator, torch.rand(2**15)).sets:
        assert (tuple(args[2].shape), args[2].stride()) == ((64, 32), (1, 64))


def test_drawn_layers_have_the_operators_of_their_modules() -> None:
    image = {"kind": "conv", "shape": [1, 16, 8, 8], "out": 16, "kernel": 3, "stride": 1, "activation": "silu"}
    grouped, residual = (
        operators_of_layers([image | {"groups": 4, "residual": False}]),
        operators_of_layers([image | {"groups": 1, "residual": True}]),
    )
    assert [each.name for each in grouped] == ["convolution#0", "native_batch_norm#1", "silu_#2"]
    assert grouped[0].attributes["group"] == 4
    assert [each.kind.split(".")[1] for each in residual] == ["convolution", "native_batch_norm", "add_", "silu_"]


@pytest.mark.parametrize(
    ("shape", "other", "kind"),
    [
        ([1, 2, 8, 4], [1, 2, 4, 8], "aten.bmm.default"),
        ([1, 2, 8, 8], [1, 2, 8, 4], "aten._scaled_dot_product_flash_attention_for_cpu.default"),
    ],
)
def test_products_are_of_eager(shape: list[int], other: list[int], kind: str) -> None:
    operators = operators_of_layers([{"kind": "product", "shape": shape, "other": other}])
    assert kind in [each.kind for each in operators]
