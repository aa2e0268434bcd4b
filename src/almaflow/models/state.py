"""Puts back what a call of a model changed: its buffers, its attributes, and the random generators."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch

KEPT_BY_TORCH = frozenset({"_parameters", "_buffers", "_modules"})
"""Attributes of a module that hold its tensors and parts, which keep their identity."""

_Attributes = dict[torch.nn.Module, dict[str, Any]]

DEEPEST = 8
"""Depth to which attributes are compared: objects may refer to each other in a circle."""


class ModelState:
    """The state of a model at one moment.

    Parameters are not copied, since they are large and hardly any model writes to them in a call; ``changed`` tells of
    them too.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        weights = [*model.parameters(), *model.buffers()]
        # Weights stay what they are, wherever an attribute refers to them.
        self._shared: dict[int, Any] = {id(kept): kept for kept in (*weights, *model.modules())}
        self._versions = [(name, p, p._version) for name, p in model.named_parameters()]  # noqa: SLF001 - PyTorch has no public place for it
        self._buffers = {
            module: {name: None if buffer is None else buffer.clone() for name, buffer in module._buffers.items()}  # noqa: SLF001 - buffers of a module alone, None among them
            for module in model.modules()
        }
        self._attributes = self._copies({module: _attributes(module) for module in model.modules()})

    def put_back(self) -> None:
        """Give the model the state that it had, parameters excepted."""
        with torch.no_grad():
            for module, buffers in self._buffers.items():
                for name, value in buffers.items():
                    _put_back_buffer(module, name, value)
        for module, attributes in self._copies(self._attributes).items():
            for name in _attributes(module).keys() - attributes.keys():
                del vars(module)[name]
            vars(module).update(attributes)

    def changed(self) -> tuple[str, ...]:
        """Return the names of parameters, buffers and attributes that are no longer what they were."""
        names = [name for name, parameter, version in self._versions if parameter._version != version]  # noqa: SLF001
        for prefix, module in self._model.named_modules():
            place = f"{prefix}." if prefix else ""
            before = self._buffers.get(module, {})
            names += [f"{place}{k}" for k, b in module._buffers.items() if not _same(before.get(k), b)]  # noqa: SLF001
            attributes, now = self._attributes.get(module, {}), _attributes(module)
            names += [
                f"{place}{key}"
                for key in dict.fromkeys((*attributes, *now))
                if key not in attributes or key not in now or not _same(attributes[key], now[key])
            ]
        return tuple(names)

    def _copies(self, attributes: _Attributes) -> _Attributes:
        """Copy the attributes of all modules at once, so that what several of them share stays shared."""
        memo = dict(self._shared)
        try:
            return {module: copy.deepcopy(values, memo) for module, values in attributes.items()}
        except Exception:  # noqa: BLE001 - a lock, a file, a tensor with a history: what has no copy stays what it is
            return {
                module: {
                    name: copy.copy(value) if isinstance(value, dict | list | set) else value
                    for name, value in values.items()
                }
                for module, values in attributes.items()
            }


def _attributes(module: torch.nn.Module) -> dict[str, Any]:
    # Of a module that is a graph, a copy would not even be equal to the graph, and no call changes it.
    kept = KEPT_BY_TORCH | {"_graph"} if isinstance(module, torch.fx.GraphModule) else KEPT_BY_TORCH
    return {name: value for name, value in vars(module).items() if name not in kept}


def _put_back_buffer(module: torch.nn.Module, name: str, value: torch.Tensor | None) -> None:
    buffer = module._buffers.get(name)  # noqa: SLF001
    if value is None or buffer is None or buffer.shape != value.shape:
        module._buffers[name] = None if value is None else value.clone()  # noqa: SLF001
    elif not _equal(buffer, value):
        buffer.copy_(value)  # in place: what was compiled may hold the tensor itself


def _same(first: object, second: object, depth: int = 0) -> bool:
    """Whether two values are equal; values that cannot be compared are equal if they are of one class."""
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return _equal(first, second)
    if first is second or depth == DEEPEST or isinstance(first, torch.nn.Module):
        return True
    if isinstance(first, bool | int | float | complex | str | bytes):
        return first == second
    first, second = _parts(first), _parts(second)
    return first.keys() == second.keys() and all(_same(first[key], second[key], depth + 1) for key in first)


def _parts(value: object) -> dict[Any, object]:
    """Return what a value is made of, by key, position or attribute; nothing where that cannot be told."""
    if isinstance(value, dict):
        return value
    return dict(enumerate(value)) if isinstance(value, list | tuple) else getattr(value, "__dict__", {})


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    alike = first.shape == second.shape and first.dtype == second.dtype and first.device == second.device
    return alike and torch.equal(torch.nan_to_num(first), torch.nan_to_num(second))


def set_generators(seed: int) -> None:
    """Seed the generators that a model may draw from: PyTorch's on all devices, NumPy's and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that models draw from
    random.seed(seed)


def generators() -> tuple[object, ...]:
    """Return the states of these generators, which are equal as long as nothing is drawn."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call] # PyTorch's annotations
    arrays = [each.numpy().tobytes() for each in (torch.get_rng_state(), *devices)]
    _, numbers, *place = np.random.get_state(legacy=True)  # noqa: NPY002 - the generator that models draw from
    return (*arrays, np.asarray(numbers).tobytes(), *place, random.getstate())
