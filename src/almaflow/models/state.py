"""Puts back what a call of a model changed: buffers, attributes, what its code keeps elsewhere, random generators."""

from __future__ import annotations

import copy
import io
import random
from collections import deque
from typing import Any

import numpy as np
import torch

from almaflow.models.outside import places

KEPT_BY_TORCH = frozenset({"_parameters", "_buffers", "_modules"})
"""Attributes of a module that hold its tensors and parts, which keep their identity."""

_Attributes = dict[torch.nn.Module, dict[str, Any]]

SMALL = 65536
"""Most elements of a parameter that is copied: states that models keep in parameters are vectors."""

DEEPEST = 8
"""Depth to which attributes are compared: objects may refer to each other in a circle."""


class ModelState:
    """The state of a model at one moment.

    Large parameters are not copied, since hardly any model writes to them in a call; ``changed`` tells of them too.
    What a scripted part holds besides its buffers is left alone.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        weights = [*model.parameters(), *model.buffers()]
        # Weights stay what they are, wherever an attribute refers to them.
        self._shared: dict[int, Any] = {id(kept): kept for kept in (*weights, *model.modules())}
        self._versions = [(name, parameter, _version(parameter)) for name, parameter in model.named_parameters()]
        self._small = [
            (parameter, parameter.detach().clone())
            for parameter in model.parameters()
            if parameter.numel() <= SMALL and not parameter.is_inference()
        ]
        self._buffers = {
            module: {name: None if buffer is None else (buffer, buffer.clone()) for name, buffer in _buffers(module)}
            for module in model.modules()
        }
        self._attributes = self._copies({module: _attributes(module) for module in model.modules()})
        memo = dict(self._shared)
        self._outside = [(place, _copy(place.get(), memo)) for place in places(model)]

    def put_back(self) -> None:
        """Give the model the state that it had, large parameters excepted."""
        with torch.no_grad():
            for parameter, value in self._small:
                # A converter may have cast it, or be done with it.
                if parameter.dtype is value.dtype and not _equal(parameter, value):
                    parameter.copy_(value)
            for module, buffers in self._buffers.items():
                _put_back_buffers(module, buffers)
        for module, attributes in self._copies(self._attributes).items():
            for name in _attributes(module).keys() - attributes.keys():
                vars(module).pop(name, None)
            vars(module).update(attributes)
        memo = dict(self._shared)
        for outside, kept in self._outside:
            if not _same(kept, outside.get()):
                outside.set(_copy(kept, memo))

    def changed(self) -> tuple[str, ...]:
        """Return the names of parameters, buffers and attributes that are no longer what they were."""
        small = {id(parameter): value for parameter, value in self._small}
        names = [
            name
            for name, parameter, version in self._versions
            if _version(parameter) != version
            and (id(parameter) not in small or not _equal(parameter, small[id(parameter)]))
        ]
        for prefix, module in self._model.named_modules():
            place = f"{prefix}." if prefix else ""
            before = {name: kept[1] if kept else None for name, kept in self._buffers.get(module, {}).items()}
            names += _different(place, before, dict(_buffers(module)))
            names += _different(place, self._attributes.get(module, {}), _attributes(module))
        names += [outside.name for outside, kept in self._outside if not _same(kept, outside.get())]
        return tuple(names)

    def _copies(self, attributes: _Attributes) -> _Attributes:
        """Copy the attributes of all modules with one memory, so that what several of them share stays shared."""
        memo = dict(self._shared)
        return {
            module: {name: _copy(value, memo) for name, value in values.items()}
            for module, values in attributes.items()
        }


def _copy(value: object, memo: dict[int, Any]) -> object:
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # noqa: BLE001 - a lock, a file, a tensor with a history: what has no copy stays what it is
        return copy.copy(value) if isinstance(value, dict | list | set) else value


def _version(tensor: torch.Tensor) -> int | None:
    """Return how often a tensor was written to; tensors of inference mode do not count it."""
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001 - PyTorch has no public place for it


def _buffers(module: torch.nn.Module) -> list[tuple[str, torch.Tensor | None]]:
    return list(module._buffers.items())  # noqa: SLF001 - buffers of a module alone, None among them


def _attributes(module: torch.nn.Module) -> dict[str, Any]:
    if isinstance(module, torch.jit.ScriptModule):
        return {}
    # Of a module that is a graph, a copy would not even be equal to the graph, and no call changes it.
    kept = KEPT_BY_TORCH | {"_graph"} if isinstance(module, torch.fx.GraphModule) else KEPT_BY_TORCH
    return {name: value for name, value in vars(module).items() if name not in kept}


def _put_back_buffers(module: torch.nn.Module, before: dict[str, tuple[torch.Tensor, torch.Tensor] | None]) -> None:
    holder = module._buffers  # noqa: SLF001
    scripted = isinstance(module, torch.jit.ScriptModule)
    for name in [] if scripted else [name for name in holder if name not in before]:
        del holder[name]
    for name, kept in before.items():
        if kept is None:
            if not scripted:
                holder[name] = None
            continue
        buffer, value = kept
        now = holder[name] if name in holder else None  # noqa: SIM401 - that of a scripted module has no get
        # A call may have bound the name to another tensor, such as its input; a converter to one of another type.
        rebound = now is None or (now is not buffer and (now.dtype, now.device) == (buffer.dtype, buffer.device))
        if rebound and not scripted:
            holder[name] = now = buffer
        if now is not None and not _equal(now, value):
            with torch.inference_mode(now.is_inference()):
                now.copy_(value)  # in place: what was compiled may hold the tensor itself


def _different(place: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{place}{name}"
        for name in dict.fromkeys((*before, *now))
        if name not in before or name not in now or not _same(before[name], now[name])
    ]


def _same(first: object, second: object, depth: int = 0) -> bool:
    """Whether two values are equal; values that cannot be compared are equal if they are of one class."""
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return _equal(first, second)
    if first is second or depth == DEEPEST or isinstance(first, torch.nn.Module):
        return True
    if isinstance(first, bool | int | float | complex | str | bytes | set | frozenset | np.generic):
        return bool(first == second)
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.shape == second.shape and first.tobytes() == second.tobytes()
    first, second = _parts(first), _parts(second)
    return first.keys() == second.keys() and all(_same(first[key], second[key], depth + 1) for key in first)


def _parts(value: object) -> dict[Any, object]:
    """Return what a value is made of, by key, position or attribute; nothing where that cannot be told."""
    if isinstance(value, dict):
        return value
    return dict(enumerate(value)) if isinstance(value, list | tuple | deque) else getattr(value, "__dict__", {})


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    kinds = [(each.shape, each.dtype, each.device, each.layout) for each in (first, second)]
    return kinds[0] == kinds[1] and same_content(first, second)


def same_content(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors of one kind hold the same values, NaN among them."""
    try:
        if first.layout is not torch.strided:
            first, second = first.to_dense(), second.to_dense()
        return torch.equal(torch.nan_to_num(first), torch.nan_to_num(second))
    except (RuntimeError, NotImplementedError):  # quantised and 8-bit floating types have no kernel for it
        return content_of(first) == content_of(second)


def content_of(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a tensor of any kind, for comparing and hashing."""
    try:
        return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    except (RuntimeError, NotImplementedError, TypeError):  # quantised, sparse and other tensors without plain memory
        stream = io.BytesIO()
        torch.save(tensor, stream)
        return stream.getbuffer()


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
