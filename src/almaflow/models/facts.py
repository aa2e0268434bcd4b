"""Describes values by plain facts that are equal in every process where the values are, for hashing."""

from __future__ import annotations

import dataclasses
import functools
import sys
from types import CodeType, FunctionType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from almaflow.models.sources import digest_of
from almaflow.models.state import content_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
_DEEPEST = 40
_LONGEST = 100_000
"""Most parts of a container that is described; of longer ones, and deeper ones, only the class is."""
_OF_EVERY_MODULE = frozenset(vars(torch.nn.Module())) - {"training"}


class Facts:
    """Describes values; one that it has described before is not described again, since values may hold themselves."""

    def __init__(self) -> None:
        self._seen: dict[int, object] = {}  # keeps them, so that no other value gets the same ID

    def of(self, value: object, depth: int = 0) -> Any:
        """Return lists, dicts and text: of a value that can be told, else of its class."""
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            value = torch.from_numpy(np.array(value))
        if isinstance(value, torch.Tensor):
            return [str(value.dtype), list(value.shape), digest_of(content_of(value.detach()))]
        if id(value) in self._seen or depth == _DEEPEST:
            return "seen"
        self._seen[id(value)] = value
        try:
            return [_name(type(value)), self._inside(value, depth + 1)]
        except Exception:  # noqa: BLE001 - a kind of the user's own may raise anything when it is looked into
            return _name(type(value))

    def _inside(self, value: Any, depth: int) -> Any:  # noqa: C901, PLR0911, PLR0912 - one for each kind
        match value:
            case list() | tuple() | set() | frozenset() | dict() if len(value) > _LONGEST:
                return None
            case list() | tuple():
                return [self.of(each, depth) for each in value]
            case set() | frozenset():
                return sorted(str(self.of(each, depth)) for each in value)
            case dict():
                return self._pairs(((str(self.of(key, depth)), each) for key, each in value.items()), depth)
            case type():
                return self._class(value, depth) if _is_by_value(value) else _name(value)
            case FunctionType():
                return self._function(value, depth) if _is_by_value(value) else _name(value)
            case MethodType() | staticmethod() | classmethod():
                return self.of(value.__func__, depth)
            case property():
                return [self.of(each, depth) for each in (value.fget, value.fset)]
            case functools.partial():
                return [self.of(each, depth) for each in (value.func, value.args, value.keywords)]
            case CodeType():
                # Constants before 3.14 hold sets whose order changes from process to process; lines do not count.
                return [value.co_code.hex(), value.co_names, value.co_varnames, self.of(value.co_consts, depth)]
            case torch.nn.Module():
                return self._pairs({**attributes_of(value), **_tensors(value), **value._modules}.items(), depth)  # noqa: SLF001
            case SimpleNamespace():
                return self._pairs(vars(value).items(), depth)
            case _ if dataclasses.is_dataclass(value):
                names = [field.name for field in dataclasses.fields(value)]
                return self._pairs(((name, getattr(value, name, None)) for name in names), depth)
        return None

    def _pairs(self, pairs: Iterable[tuple[str, object]], depth: int) -> list[Any]:
        return [[name, self.of(value, depth)] for name, value in sorted(pairs, key=lambda pair: pair[0])]

    def _class(self, kind: type, depth: int) -> list[Any]:
        functions = (FunctionType, staticmethod, classmethod, property)
        kept = [
            (name, value)
            for name, value in vars(kind).items()
            if not name.startswith("__") or isinstance(value, functions)
        ]
        return [_name(kind), [self.of(base, depth) for base in kind.__bases__], self._pairs(kept, depth)]

    def _function(self, function: FunctionType, depth: int) -> list[Any]:
        code = function.__code__
        used = [(name, function.__globals__[name]) for name in _names(code) if name in function.__globals__]
        held = [_content(cell) for cell in function.__closure__ or ()]
        defaults = [function.__defaults__, function.__kwdefaults__]
        return [self.of(code, depth), *(self.of(each, depth) for each in (defaults, held)), self._pairs(used, depth)]


def attributes_of(module: torch.nn.Module) -> dict[str, object]:
    """Return what a module alone holds beside its parameters, buffers and parts, and beside what every module has."""
    if isinstance(module, torch.jit.ScriptModule):
        return {"code": getattr(module, "code", None)}
    return {name: value for name, value in vars(module).items() if name not in _OF_EVERY_MODULE}


def is_by_value(kind: type) -> bool:
    """Whether a class came to this process with its code, since no module that was imported here has it."""
    return _is_by_value(kind)


def _is_by_value(value: Any) -> bool:
    return value.__module__ in {None, "__main__"} or value.__module__ not in sys.modules


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _names(code: CodeType) -> set[str]:
    """Return the global names that code uses, and those of attributes."""
    inner = (_names(each) for each in code.co_consts if isinstance(each, CodeType))
    return {*code.co_names}.union(*inner)


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor | None]:
    return {**module._parameters, **module._buffers}  # noqa: SLF001 - those of a module alone


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return None
