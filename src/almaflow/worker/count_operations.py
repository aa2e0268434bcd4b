"""Counts a model's operations. A process of its own, asked with a ``ModelSpec``; it answers with a ``Workload``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.records import ModelSpec, Workload, from_dict, to_dict
from almaflow.records.child_entry import answer_once

if TYPE_CHECKING:
    from collections.abc import Iterator


def fake_workload(spec: ModelSpec) -> Workload:
    """Count a model that is built on fake tensors, and so takes no memory; on real ones where that fails.

    Raises:
        UsageError: the model or its inputs do not build on real ones either.
        Exception: it cannot run on fake tensors.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    from almaflow.models.build import build_batches, build_model
    from almaflow.models.counting import count

    batch = build_batches(spec, 1)[0]
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with _uninitialised(), mode:
            model = build_model(spec)
        return count(model, [mode.from_tensor(tensor) for tensor in batch])
    except Exception:  # noqa: BLE001 - whatever a constructor does with values that are not there
        return count(build_model(spec), batch)


@contextmanager
def _uninitialised() -> Iterator[None]:
    """Without PyTorch's initialisers: some draw until the values please them, and fake tensors have none."""
    from torch.nn import init

    before = {name: each for name, each in vars(init).items() if name.endswith("_") and not name.startswith("_")}
    vars(init).update(dict.fromkeys(before, lambda tensor, *_, **__: tensor))
    try:
        yield
    finally:
        vars(init).update(before)


if __name__ == "__main__":
    answer_once(lambda question: to_dict(fake_workload(from_dict(ModelSpec, question))), bad_input=UsageError)
