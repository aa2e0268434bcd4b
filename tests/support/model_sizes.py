"""Counts parameters and FLOPs of the configured models, for ``conf/model_sizes.json``: its output becomes that file."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from almaflow.config import files
from almaflow.config.composition import compose
from almaflow.config.resolve import resolve_model
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from almaflow.records import ModelSpec


def size_of(spec: ModelSpec) -> dict[str, float]:
    """Parameters, and 10^9 FLOPs of one forward call on one sample."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from almaflow.models.build import build_model
    from almaflow.models.fake import uninitialised
    from almaflow.worker.count_operations import fake_workload

    with uninitialised(), FakeTensorMode(allow_non_fake_inputs=True):
        parameters = sum(each.numel() for each in build_model(spec).parameters())
    return {"parameters": parameters, "gflops": float(f"{fake_workload(spec).flops / 1e9:.4g}")}


def spec_of(name: str) -> ModelSpec | None:
    """The model of a config; None where the config leaves it to its user what is built."""
    try:
        return resolve_model(compose([f"model={name}"]))
    except UsageError:
        return None


def main() -> None:
    """Print the sizes of all models whose libraries are installed."""
    sizes = {}
    for name in files.names("model"):
        if spec := spec_of(name):
            try:
                sizes[name] = size_of(spec)
            except UsageError as error:
                print(f"{name}: {error}", file=sys.stderr)
    print(json.dumps(sizes, indent=1))


if __name__ == "__main__":
    main()
