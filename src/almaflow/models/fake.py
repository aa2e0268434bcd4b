"""Builds models on fake tensors, which have shapes and types but no values. Imports torch: for workers only."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from torch._subclasses.fake_tensor import FakeTensorMode

from almaflow.models.batches import build_inputs
from almaflow.models.binding import Parameters, bind
from almaflow.models.build import build_example, build_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from almaflow.models.batches import Batch
    from almaflow.records import ModelSpec

_Answer = TypeVar("_Answer")


def on_fakes(spec: ModelSpec, work: Callable[[torch.nn.Module, Batch], _Answer]) -> _Answer:
    """Return what ``work`` makes of a model and a batch on fake tensors, which take no memory, or of real ones else.

    Raises:
        UsageError: the model or its inputs do not build on real tensors either.
        Exception: what ``work`` raises on real tensors.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with uninitialised(), mode:
            model = build_model(spec)
        inputs = build_inputs(spec, 1, Parameters.of(model))
        return work(bind(model, inputs.form), tuple(mode.from_tensor(tensor) for tensor in inputs.batches[0]))
    except Exception:  # noqa: BLE001 - a constructor may do anything with values that do not exist
        example = build_example(spec, 1)
        return work(example.model, example.batches[0])


@contextmanager
def uninitialised() -> Iterator[None]:
    """Disable PyTorch's initialisers: some draw until the values suffice, and fake tensors have no values."""
    from torch.nn import init

    before = {
        name: function for name, function in vars(init).items() if name.endswith("_") and not name.startswith("_")
    }
    vars(init).update(dict.fromkeys(before, lambda tensor, *_, **__: tensor))
    try:
        yield
    finally:
        vars(init).update(before)
