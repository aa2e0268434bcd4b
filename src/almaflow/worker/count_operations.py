"""Counts the operations of the model on standard input; the last line of standard output is the workload as JSON."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.records import ModelSpec, Workload, from_dict, to_dict
from almaflow.records.protocol import BAD_INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Exit code 0; 2 and one line on standard error where the model is not what it should be."""
    asked = json.loads(sys.stdin.read())
    sys.path[:] = [*dict.fromkeys([*sys.path, *asked["sys_path"]])]
    try:
        with redirect_stdout(sys.stderr):  # what models print as they are built
            counted = fake_workload(from_dict(ModelSpec, asked["model"]))
    except UsageError as error:
        print(error, file=sys.stderr)  # noqa: T201 - that is how a child speaks
        return BAD_INPUT
    print(json.dumps(to_dict(counted)))  # noqa: T201 - that is how a child speaks
    return 0


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
    sys.exit(main())
