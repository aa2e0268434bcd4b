"""Where the dynamic dimensions of a model are among the tensors of a batch, and batches of other sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.errors import UsageError
from almaflow.records import Axis, DynamicDim, InputSpec, ModelSpec

if TYPE_CHECKING:
    from almaflow.models.dynamic import Axes

pytestmark = pytest.mark.slow  # importing torch takes seconds

NAMES = ("input_ids", "mask")
BATCH = DynamicDim("batch")
SEQUENCE = DynamicDim("sequence", 1, 6, (Axis("input_ids", 1), Axis("1", 1)))


def spec(*dims: DynamicDim, **others: Any) -> ModelSpec:
    return ModelSpec("text", batch_size=2, dynamic=dims, **others)


def tensors(*shapes: tuple[int, ...]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.arange(torch.Size(shape).numel()).reshape(shape) for shape in shapes)


def test_names_are_those_of_inputs_or_their_positions_and_the_batch_is_everywhere() -> None:
    from almaflow.models.dynamic import axes_of, present_sizes

    batch = tensors((2, 4), (2, 4))
    axes = axes_of(spec(BATCH, SEQUENCE), NAMES, batch)
    assert axes == ({0: "batch", 1: "sequence"}, {0: "batch", 1: "sequence"})
    assert present_sizes(axes, batch) == {"batch": 2, "sequence": 4}
    assert axes_of(spec(), NAMES, batch) == ({}, {})
    # A mask that all samples share has no batch dimension, one of another place has it there.
    shared = spec(BATCH, inputs=(InputSpec((4,), batch_dim=1), InputSpec((2, 4), batch_dim=None)))
    assert axes_of(shared, NAMES, tensors((4, 2), (2, 4))) == ({1: "batch"}, {})


@pytest.mark.parametrize(("dims", "shapes", "line"), [
    ([replace(SEQUENCE, axes=(Axis("x", 1),))], ((2, 4), (2, 4)),
     "model.dynamic_axes: no input is called x; they are: input_ids, mask"),
    ([SEQUENCE], ((2, 4), (2,)), "model.dynamic_axes: mask of shape (2,) has no dimension 1"),
    ([SEQUENCE], ((2, 4), (2, 5)), "model.dynamic: sequence is 4 and 5 in the example inputs, and must have one size"),
    ([SEQUENCE], ((2, 7), (2, 7)), "model.dynamic: sequence is 7 in the example inputs, outside of sequence 1-6"),
    ([BATCH], ((3, 4), (3, 4)), "model.dynamic: no input has a batch dimension of 2; set model.batch_dim"),
    ([BATCH, DynamicDim("rows", axes=(Axis("mask", 0),))], ((2, 4), (2, 4)),
     "model.dynamic: dimension 0 of mask has two names, batch and rows"),
])  # fmt: skip
def test_what_does_not_fit_the_inputs_is_told_in_one_line(
    dims: list[DynamicDim], shapes: tuple[tuple[int, ...], ...], line: str
) -> None:
    from almaflow.models.dynamic import axes_of

    with pytest.raises(UsageError) as refused:
        axes_of(spec(*dims), NAMES, tensors(*shapes))
    assert str(refused.value) == line


def test_every_dimension_is_checked_at_another_size_whatever_sizes_were_given() -> None:
    from almaflow.models.dynamic import sizes_to_check, timed_sizes

    present = {"batch": 2, "sequence": 4}
    assert sizes_to_check(spec(), {}) == []
    assert sizes_to_check(spec(BATCH, SEQUENCE), present) == [{"batch": 4, "sequence": 6}]
    assert sizes_to_check(spec(SEQUENCE), {"sequence": 5}) == [{"sequence": 6}]
    assert sizes_to_check(spec(SEQUENCE), {"sequence": 6}) == [{"sequence": 5}]
    whole = spec(BATCH, SEQUENCE, sizes=({"batch": 8}, {"sequence": 2}))
    assert sizes_to_check(whole, present) == [{"batch": 8, "sequence": 4}, {"batch": 2, "sequence": 2}]
    one = spec(BATCH, SEQUENCE, sizes=({"batch": 1}, {"batch": 8}))
    timed = [{"batch": 1, "sequence": 4}, {"batch": 8, "sequence": 4}]
    assert timed_sizes(one, present) == timed
    assert sizes_to_check(one, present) == [*timed, {"batch": 2, "sequence": 6}]


def test_the_examples_own_size_is_not_another_and_none_is_there_twice() -> None:
    from almaflow.models.dynamic import sizes_to_check, timed_sizes

    own = spec(BATCH, sizes=({"batch": 2},))
    assert timed_sizes(own, {"batch": 2}) == []
    assert sizes_to_check(own, {"batch": 2}) == [{"batch": 4}]
    twice = spec(BATCH, SEQUENCE, sizes=({"batch": 8}, {"batch": 8, "sequence": 4}, {"batch": 8, "sequence": 2}))
    expected = [{"batch": 8, "sequence": 4}, {"batch": 8, "sequence": 2}]
    assert timed_sizes(twice, {"batch": 2, "sequence": 4}) == expected
    assert sizes_to_check(twice, {"batch": 2, "sequence": 4}) == expected


def test_a_larger_batch_has_the_rows_of_all_batches_before_it_has_any_twice() -> None:
    import torch

    from almaflow.models.dynamic import resized

    axes: Axes = ({0: "batch", 1: "sequence"}, {})
    shared = torch.zeros(3)
    batches = [(torch.tensor([[1, 2], [3, 4]]), shared), (torch.tensor([[5, 6], [7, 8]]), shared)]
    made, same = resized(batches, axes, {"batch": 5, "sequence": 3})
    assert made.tolist() == [[1, 2, 5], [3, 4, 7], [5, 6, 1], [7, 8, 3], [1, 2, 5]]
    assert same is shared
    assert resized(batches, axes, {"batch": 1, "sequence": 1})[0].tolist() == [[1]]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("pool", ["amax", "mean"])
def test_a_length_that_a_trace_of_a_pooling_has_frozen_is_seen(batches: int, pool: str) -> None:
    import torch

    from almaflow.models.dynamic import resized

    def pooled(x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = getattr(x[:, : int(x.shape[1])], pool)(1)
        return found

    generator = torch.Generator().manual_seed(0)
    made = [(torch.randn(2, 6, 4, generator=generator),) for _ in range(batches)]
    traced = torch.jit.trace(pooled, made[0], check_trace=False)  # type: ignore[no-untyped-call]
    for length in (8, 12):
        (longer,), (again,) = (
            resized(made, ({0: "batch", 1: "sequence"},), {"batch": 2, "sequence": length}) for _ in range(2)
        )
        assert longer.shape == (2, length, 4)
        assert torch.equal(longer, again)
        assert (traced(longer) - pooled(longer)).abs().max() > 0.01


def test_elements_are_those_of_the_example_and_masks_stay_masks() -> None:
    import torch

    from almaflow.models.dynamic import resized

    tokens = torch.tensor([[1, 9, 4], [7, 2, 3]])
    kinds = [torch.bool, torch.float16, torch.bfloat16, torch.complex64, torch.uint8]
    batch = (tokens, torch.tensor([[1, 1, 0], [1, 0, 0]]), *(tokens.to(kind) for kind in kinds))
    axes: Axes = tuple({0: "batch", 1: "sequence"} for _ in batch)
    made = resized([batch], axes, {"batch": 2, "sequence": 6})
    assert [sorted(row) for row in made[0].tolist()] == [[1, 1, 4, 4, 9, 9], [2, 2, 3, 3, 7, 7]]
    assert made[0].tolist() != tokens.repeat(1, 2).tolist()
    assert made[1].tolist() == [[1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 0, 0]]
    assert [each.dtype for each in made[2:]] == kinds


def test_another_size_lies_in_memory_as_the_example_does() -> None:
    import torch

    from almaflow.conversions.built.dynamic import DynamicShapes
    from almaflow.models.dynamic import resized

    example = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    axes: Axes = ({0: "batch", 3: "width"},)
    (made,) = resized([(example,)], axes, {"batch": 3, "width": 7})
    assert made.shape == (3, 3, 4, 7)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert resized([(example.contiguous(),)], axes, {"batch": 3, "width": 7})[0].is_contiguous()
    batch = (example,)
    assert DynamicShapes(axes).widened(batch) is batch
    (widened,) = DynamicShapes(axes).widened((example[:1],))
    assert widened.is_contiguous(memory_format=torch.channels_last)


def test_converters_get_the_names_in_their_own_form() -> None:
    import torch

    from almaflow.conversions.built.dynamic import DynamicShapes

    named: Axes = ({0: "batch", 1: "sequence"}, {0: "batch", 2: "width"}, {})
    dims = (BATCH, replace(SEQUENCE, high=None), DynamicDim("width", 2, 8, (Axis("mask", 2),)))
    shapes = DynamicShapes(named, dims)
    batch = (torch.zeros(1, 4), torch.zeros(1, 3, 8), torch.zeros(5))
    assert [tuple(each.shape) for each in shapes.widened(batch)] == [(2, 4), (2, 3, 8), (5,)]
    assert shapes.for_openvino(batch) == [[-1, -1], [-1, 3, (2, 8)], [5]]

    class Takes(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return inputs[0]

    class TakesPacked(torch.nn.Module):
        def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
            return inputs[0]

    for module, arguments in ((Takes(), batch), (TakesPacked(), (batch,))):
        assert shapes.for_onnx(module, arguments, (), dynamo=True) == {"dynamic_shapes": (named,)}
        (exported,) = shapes.for_export(module, arguments)["dynamic_shapes"]
        assert [list(each) for each in exported] == [[0, 1], [0, 2], []]
    names = ("input_0", "input_1", "input_2")
    assert shapes.for_onnx(Takes(), batch, names, dynamo=False) == {
        "dynamic_axes": {"input_0": {0: "batch", 1: "sequence"}, "input_1": {0: "batch", 2: "width"}}
    }


def test_where_all_sizes_are_fixed_converters_get_nothing() -> None:
    import torch

    from almaflow.conversions.built.dynamic import DynamicShapes

    for shapes in (DynamicShapes(), DynamicShapes(({},))):
        batch = (torch.zeros(1, 4),)
        assert not shapes
        assert shapes.widened(batch) is batch
        assert shapes.for_export(None, batch) == shapes.for_onnx(None, batch, (), dynamo=True) == {}
        assert shapes.for_openvino(batch) == [[1, 4]]
        shapes.mark(batch)
        assert not hasattr(batch[0], "_dynamo_dynamic_indices")


def test_a_model_that_reads_memory_gets_it_in_the_examples_order_at_any_size() -> None:
    import torch

    from almaflow.conversions.built.layout import LaidOutAs

    example = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)
    laid_out = LaidOutAs((example,), lambda tensor: tensor, ({0: "batch"},))
    given = torch.randn(5, 3, 4, 4)
    taken = laid_out(given)
    assert taken.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(taken, given)
    assert laid_out(taken) is taken or torch.equal(laid_out(taken), taken)
    with pytest.raises(ValueError, match="built for"):
        laid_out(torch.randn(5, 4, 4, 4))
    with pytest.raises(ValueError, match="built for"):
        laid_out(given.double())
