"""Turns a flat batch of tensors into the arguments of a model's call, and back; the form is plain data."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Tree = list[Any]
"""A value with its tensors taken out: a kind, then what the kind needs.

``["input", 0]`` (the batch's first tensor), ``["value", None]`` (also bools, numbers, text), ``["list", [...]]``,
``["tuple", [...]]``, ``["dict", [[key, tree], ...]]``, ``["object", class, [[field, tree], ...]]`` for a dataclass or
a named tuple, its class pickled as text; ``["other", "PIL.Image"]`` for what no call can be made with.
"""


@dataclass(frozen=True)
class CallForm:
    """The arguments of a model's call, with a place for each tensor of a flat batch."""

    args: tuple[Tree, ...]
    kwargs: dict[str, Tree]
    names: tuple[str, ...]
    """A name for each tensor: the parameter's that it reaches, with its place inside (``state.0``), or the user's."""

    @classmethod
    def flat(cls, count: int) -> CallForm:
        """Return the form of a call with so many tensors by position."""
        return cls(tuple(["input", index] for index in range(count)), {}, tuple(f"input_{i}" for i in range(count)))

    @property
    def is_flat(self) -> bool:
        """Whether the model takes the tensors by position, one by one."""
        return not self.kwargs and list(self.args) == [["input", index] for index in range(len(self.names))]

    def arguments(self, batch: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments by position and by name that this batch gives."""
        args = tuple(filled(tree, batch) for tree in self.args)
        return args, {name: filled(tree, batch) for name, tree in self.kwargs.items()}

    def to_plain(self) -> dict[str, Any]:
        """Return dicts, lists, text and numbers, for JSON or ``torch.load(..., weights_only=True)``."""
        return {"args": list(self.args), "kwargs": dict(self.kwargs), "names": list(self.names)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> CallForm:
        """Return the form that ``to_plain`` gave."""
        return cls(tuple(plain["args"]), dict(plain["kwargs"]), tuple(plain["names"]))


def taken_apart(value: object, tensors: list[torch.Tensor]) -> Tree:
    """Append the tensors of a value to the list, in the order in which it holds them, and return what remains.

    Numpy's arrays become tensors. Anything that is not listed at ``Tree`` is kept by the name of its type.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        value = torch.from_numpy(np.array(value))  # a copy: the array may be read only
    if isinstance(value, np.bool_ | np.integer | np.floating):
        value = value.item()
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return ["input", len(tensors) - 1]
    if value is None or type(value) in {bool, int, float, str}:
        return ["value", value]
    if isinstance(value, Mapping):
        return ["dict", [[key, taken_apart(value[key], tensors)] for key in value]]
    if (fields := fields_of(value)) is not None:
        parts = [[name, taken_apart(part, tensors)] for name, part in fields.items()]
        return ["object", base64.b64encode(cloudpickle.dumps(type(value))).decode(), parts]
    if isinstance(value, tuple | list):
        return ["tuple" if isinstance(value, tuple) else "list", [taken_apart(part, tensors) for part in value]]
    return ["other", f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")]


def fields_of(value: object) -> dict[str, Any] | None:
    """Return the fields that a dataclass or a named tuple is made of; None for anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: getattr(value, name) for name in value._fields}
    return None


class Other:
    """Something in a batch that no call can be made with."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def filled(tree: Tree, batch: Sequence[Any], build: Callable[..., Any] | None = None) -> Any:  # noqa: PLR0911 - one for each kind
    """Return the value with these tensors, or with whatever stands for them, in its places.

    Args:
        tree: What ``taken_apart`` returned.
        batch: Something for each tensor.
        build: Called with the class and the fields of a dataclass or named tuple instead of the class itself.
    """
    kind, content = tree[0], tree[1]
    match kind:
        case "input":
            return batch[content]
        case "value":
            return content
        case "list":
            return [filled(part, batch, build) for part in content]
        case "tuple":
            return tuple(filled(part, batch, build) for part in content)
        case "dict":
            return {key: filled(part, batch, build) for key, part in content}
        case "object":
            made = cloudpickle.loads(base64.b64decode(content))
            fields = {name: filled(part, batch, build) for name, part in tree[2]}
            return build(made, fields) if build else made(**fields)
        case _:
            return Other(content)


def places(tree: Tree, path: str) -> Iterator[tuple[int, str]]:
    """Yield each tensor's index in the batch with its path, as ``state.0``."""
    if tree[0] == "input":
        yield tree[1], path
    elif tree[0] in {"list", "tuple"}:
        for number, part in enumerate(tree[1]):
            yield from places(part, f"{path}.{number}")
    elif tree[0] in {"dict", "object"}:
        for key, part in tree[-1]:
            yield from places(part, f"{path}.{key}")


def others(tree: Tree) -> Iterator[str]:
    """Yield the types of what no call can be made with."""
    if tree[0] == "other":
        yield tree[1]
    elif tree[0] in {"list", "tuple"}:
        for part in tree[1]:
            yield from others(part)
    elif tree[0] in {"dict", "object"}:
        for _, part in tree[-1]:
            yield from others(part)
