"""Count a model's operations in a process of its own; a ``ModelSpec`` comes in, a ``Workload`` goes out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.records import ModelSpec, Workload, from_dict, to_dict
from almaflow.records.child_entry import answer_once

if TYPE_CHECKING:
    from collections.abc import Iterator


def fake_workload(spec: ModelSpec) -> Workload:
    """Count a model that is built on fake tensors, which take no memory, or on real ones if that fails.

    Raises:
        UsageError: the model or its inputs do not build on real tensors either.
        Exception: the model's code depends on values, which fake tensors do not have.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    from almaflow.models.batches import build_inputs
    from almaflow.models.binding import Parameters, bind
    from almaflow.models.build import build_example, build_model
    from almaflow.models.counting import count

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with _uninitialised(), mode:
            model = build_model(spec)
        inputs = build_inputs(spec, 1, Parameters.of(model))
        fake = [mode.from_tensor(tensor) for tensor in inputs.batches[0]]
        return count(bind(model, inputs.form), fake, spec.batch_size)
    except Exception:  # noqa: BLE001 - a constructor may do anything with values that do not exist
        example = build_example(spec, 1)
        return count(example.model, example.batches[0], spec.batch_size)


@contextmanager
def _uninitialised() -> Iterator[None]:
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


if __name__ == "__main__":
    answer_once(lambda question: to_dict(fake_workload(from_dict(ModelSpec, question))), bad_input=UsageError)
