"""Picks a model's inputs out of what a data loader gives, or a caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from almaflow.errors import UsageError
from almaflow.models.binding import arrange
from almaflow.models.call_form import fields_of, filled, others, taken_apart
from almaflow.models.outputs import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from almaflow.models.binding import Parameters
    from almaflow.models.call_form import CallForm
    from almaflow.records import ModelSpec

    Pairs = Sequence[tuple[str | None, Any]]
    Batch = tuple[torch.Tensor, ...]

LABELS = frozenset({"labels", "label", "targets", "target"})
"""Keys of a loader's labels, which the model does not get where it can do without: it would compute a loss, too."""


def call_of(pairs: Pairs, parameters: Parameters, origin: str, *, as_they_are: bool = False) -> tuple[Batch, CallForm]:
    """Take the tensors out of the inputs, each of which has its name or None, and bind them to the parameters.

    Returns:
        The tensors in the order of the inputs, on the CPU and each with memory of its own: two that share some, or one
        whose rows are the same memory, are read differently by different runtimes. Strides stay where they only
        permute the dimensions. With ``as_they_are`` they are those of the inputs, which are on the CPU.

    Raises:
        UsageError: a name does not fit, or the inputs hold something else than tensors, numbers, text and None.
    """
    tensors: list[torch.Tensor] = []
    trees = [(name, taken_apart(value, tensors)) for name, value in pairs]
    if kinds := [kind for _, tree in trees for kind in others(tree)]:
        message = f"{origin}: the inputs hold a {kinds[0]}, and may hold tensors, arrays, numbers, text and None"
        raise UsageError(message)
    if not tensors:
        held = ", ".join(type(value).__name__ for _, value in pairs) or "nothing"
        message = f"{origin}: its batches hold ({held}), but no tensor for {parameters}"
        raise UsageError(message)
    batch = tuple(tensors if as_they_are else map(own_memory, tensors))
    return batch, arrange(trees, parameters, origin)


def own_memory(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor to the CPU into memory of its own, with its strides where these only permute the dimensions."""
    return plain(tensor.detach()).cpu().clone()


def inputs_of(item: object, spec: ModelSpec, parameters: Parameters, origin: str) -> Pairs:
    """Pick the model's inputs out of one item of a data loader, as ``build_inputs`` describes.

    Raises:
        UsageError: the item does not hold them.
    """
    return sample_of(item, spec, parameters, origin)[0]


def sample_of(item: object, spec: ModelSpec, parameters: Parameters, origin: str) -> tuple[Pairs, tuple[Any, ...]]:
    """Pick the model's inputs and the labels out of one item of a data loader.

    The labels are what follows the inputs in a tuple or list, or has one of the keys ``LABELS`` in a mapping; there may
    be none.

    Raises:
        UsageError: the item does not hold the inputs.
    """
    names = [each.name for each in spec.inputs or ()]
    fields = fields_of(item)
    if fields is not None and not {*fields}.isdisjoint({*names, *parameters.named}):
        item = fields
    if isinstance(item, Mapping):
        return _of_mapping(item, names, parameters, origin), _labels_in(item)
    parts: list[Any] = list(item) if isinstance(item, (tuple, list)) else [item]
    if not names:
        first = parts[0] if parts else None
        if isinstance(first, Mapping) and not {*first}.isdisjoint(parameters.named):
            pairs = _of_mapping(first, names, parameters, origin)
            return pairs, tuple(parts[1:]) or _labels_in(first)  # (inputs, labels)
        wanted = max(1, sum(name in parameters.positional for name in parameters.required))
        return [(None, part) for part in parts[:wanted]], tuple(parts[wanted:])
    taken: list[Any] = []
    while (held := _tensors_in(taken)) < len(names) and len(taken) < len(parts):
        taken.append(parts[len(taken)])
    if held != len(names):
        kinds = ", ".join(type(part).__name__ for part in parts) or "nothing"
        message = f"{origin}: its batches hold ({kinds}), but the model takes {len(names)} tensors, which come first"
        raise UsageError(message)
    given = names if len(taken) == len(names) else [None] * len(taken)
    return list(zip(given, taken, strict=True)), tuple(parts[len(taken) :])


def _labels_in(item: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(value for key, value in item.items() if key in LABELS)


def _of_mapping(item: Mapping[Any, Any], names: list[str | None], parameters: Parameters, origin: str) -> Pairs:
    keys = ", ".join(map(str, item))
    if names and all(names):
        tops = list(dict.fromkeys(str(name).partition(".")[0] for name in names))
        if missing := [name for name in tops if name not in item]:
            message = f"{origin}: its batches have {keys}, but no {missing[0]!r}"
            raise UsageError(message)
        return [(name, item[name]) for name in tops]
    offered = [key for key in item if key not in LABELS or key in parameters.required]
    if not parameters.named and parameters.any_name:
        return [(key, item[key]) for key in offered]
    if fitting := [key for key in offered if key in parameters.named]:
        return [(key, item[key]) for key in fitting]
    if len(offered) == (len(names) or max(1, len(parameters.required))):
        return [(None, item[key]) for key in offered]
    message = (
        f"{origin}: its batches have {keys}, which are no parameters of {parameters}; "
        "give model.inputs a name for each, or let the loader give them in order"
    )
    raise UsageError(message)


def nested(pairs: Pairs) -> Pairs:
    """Collect inputs whose names have dots: ``state.0`` and ``state.1`` become a tuple, others a dictionary."""
    if not any(name and "." in name for name, _ in pairs):
        return pairs
    groups: dict[str, list[tuple[str, Any]]] = {}
    made: list[tuple[str | None, Any]] = []
    for name, value in pairs:
        top, dot, rest = (name or "").partition(".")
        if dot:
            made += [] if top in groups else [(top, None)]
            groups.setdefault(top, []).append((rest, value))
        else:
            made.append((name, value))
    return [(name, _grouped(groups[name]) if name in groups else value) for name, value in made]


def _grouped(parts: list[tuple[str, Any]]) -> Any:
    inner = nested(parts)
    by_place = all(str(name).isdecimal() for name, _ in inner)
    return tuple(value for _, value in inner) if by_place else dict(inner)


def _tensors_in(value: object) -> int:
    tensors: list[torch.Tensor] = []
    taken_apart(value, tensors)
    return len(tensors)


def stored(items: Sequence[object], *, as_they_are: bool = False) -> dict[str, Any]:
    """Return items as plain data and tensors, for ``torch.save``; ``restored`` gives them back.

    Each tensor is copied to memory of its own, or with ``as_they_are`` kept with its strides and the memory that it
    shares.
    """
    trees, tensors = [], []
    for item in items:
        held: list[torch.Tensor] = []
        trees.append(taken_apart(item, held))
        tensors.append(held if as_they_are else [own_memory(tensor) for tensor in held])
    return {"trees": trees, "tensors": tensors}


def restored(plain: Mapping[str, Any]) -> list[Any]:
    """Return the items that ``stored`` gave."""
    return [filled(tree, tensors) for tree, tensors in zip(plain["trees"], plain["tensors"], strict=True)]
