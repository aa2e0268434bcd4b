"""Says by digests what a model is: code, weights, attributes, operations, inputs, and the files that it is built from.

Eager's outputs are not among them. They follow from these, and are not the same twice: a model may draw at random, and
the last bits of a float depend on where memory lies and on the order in which threads add. Rounding does not help,
since an element may always lie at the edge between two rounded values.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.models.facts import Facts, attributes_of, is_by_value
from almaflow.models.sources import digest_of, file_digest, imported_by_own, installed_versions, own_sources
from almaflow.models.state import content_of
from almaflow.models.targets import started_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from almaflow.models.batches import Batch
    from almaflow.models.call_form import CallForm, Tree
    from almaflow.records import ModelSpec, Workload


def digests_of_built(
    spec: ModelSpec, model: torch.nn.Module, weights: str, batches: Sequence[Batch], form: CallForm
) -> dict[str, str]:
    """Return digests of what a model is before its first call, by what they are of.

    A model that almaflow or torchvision builds has random weights and random inputs, of which the latency does not
    depend: these do not count, nor does the seed. Weights from a file do. A segment's name is a digest of its code and
    sizes already. Its weights count, since how well a conversion agrees with eager depends on them, and whether its
    inputs are real ones, permuted ones, or all zeros; their values do not.

    Args:
        spec: What the model was built from.
        model: As it was built.
        weights: Digest of its parameters and buffers.
        batches: All its inputs.
        form: How a batch becomes the arguments of the model's call.
    """
    if spec.segment:
        are_zeros = not any(bytes(content_of(tensor)).strip(b"\0") for batch in batches for tensor in batch)
        kind = "zeros" if are_zeros else spec.segment.inputs
        return _hashed({"weights": weights if spec.weights else None, "inputs": None if kind == "real" else kind})
    own: dict[str, Any] = {} if spec.built_in else {"weights": weights, "attributes": _attributes(model)}
    if spec.weights:
        own["weights"] = weights
    return _hashed(own | {"inputs": _inputs(spec, batches, form), "files": _files(spec)})


def digests_of_called(spec: ModelSpec, model: torch.nn.Module, workload: Workload | None) -> dict[str, str]:
    """Return the other digests, which are of what a call may still change: the modules that are imported.

    Args:
        spec: What the model was built from.
        model: After a call.
        workload: Its operations, None where they cannot be counted.
    """
    if spec.segment:
        return {}
    kinds = sorted({type(module) for module in model.modules()}, key=lambda kind: (kind.__module__, kind.__qualname__))
    names = {kind.__module__ for kind in kinds}
    if spec.built_in:
        return _hashed({"code": installed_versions(names)})
    targets = {each for each in (spec.target, spec.data_loader and spec.data_loader.target) if each}
    facts = Facts()
    code = {
        "sources": own_sources(),
        "packages": installed_versions(names | targets | imported_by_own()),
        "classes": [facts.of(kind) for kind in kinds if is_by_value(kind)],
    }
    return _hashed({"code": code}) | ({"operations": workload.digest} if workload else {})


def _hashed(facts: dict[str, Any]) -> dict[str, str]:
    """Return a digest of each value that is there."""
    return {name: digest_of(json.dumps(each, sort_keys=True).encode()) for name, each in facts.items() if each}


def _attributes(model: torch.nn.Module) -> list[Any]:
    facts = Facts()
    return [[name, facts.of(attributes_of(module))] for name, module in model.named_modules()]


def _inputs(spec: ModelSpec, batches: Sequence[Batch], form: CallForm) -> list[Any]:
    given = spec.data_loader or spec.batches_path
    if spec.built_in and not given:
        specs = [(each.name, each.low, each.high) for each in spec.inputs or ()]
        return [*specs] if any(each != (None, 0, None) for each in specs) else []
    facts = Facts()
    # Of random inputs the first batch tells of all, however many there are.
    values = [facts.of(list(batch)) for batch in (batches if given else batches[:1])]
    calls = [_without_classes(tree) for tree in form.args]
    return [values, calls, {name: _without_classes(tree) for name, tree in form.kwargs.items()}, list(form.names)]


def _without_classes(tree: Tree) -> Tree:
    """Return the tree without pickled classes, which are other bytes in each process."""
    kind, *rest = tree
    match kind:
        case "list" | "tuple":
            return [kind, [_without_classes(part) for part in rest[0]]]
        case "dict" | "object":
            return [kind, [[name, _without_classes(part)] for name, part in rest[-1]]]
    return tree


def _files(spec: ModelSpec) -> dict[str, str]:
    """Return the digests of the files that keyword arguments name, by the arguments."""
    with started_in(spec.directory):
        found = {}
        for name, value in _texts("", spec.kwargs):
            with suppress(OSError, ValueError):  # a text that is no path, or a file that only its owner reads
                if Path(value).is_file():
                    found[name] = file_digest(Path(value))
        return found


def _texts(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value:
        yield name, value
    elif isinstance(value, dict | list | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(f"{name}.{key}", part)
