"""Count a model's operations in a process of its own; a ``ModelSpec`` comes in, a ``Workload`` goes out."""

from __future__ import annotations

from almaflow.errors import UsageError
from almaflow.records import ModelSpec, Workload, from_dict, to_dict
from almaflow.records.child_entry import answer_once


def fake_workload(spec: ModelSpec) -> Workload:
    """Count a model that is built on fake tensors, or on real ones if that fails.

    Raises:
        UsageError: the model or its inputs do not build on real tensors either.
        Exception: the model's code depends on values, which fake tensors do not have.
    """
    from almaflow.models.counting import count
    from almaflow.models.fake import on_fakes

    return on_fakes(spec, lambda model, batch: count(model, batch, spec.batch_size))


if __name__ == "__main__":
    answer_once(lambda question: to_dict(fake_workload(from_dict(ModelSpec, question))), bad_input=UsageError)
