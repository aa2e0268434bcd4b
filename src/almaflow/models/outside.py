"""Finds what a model's code may keep outside of the model: globals, attributes of classes, default arguments, closures.

Only the user's own code is looked at, and of its globals only those that the code names.
"""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass
from dis import get_instructions
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LARGE = 1 << 24
"""Most elements of a tensor that counts as state: a table of data is none, and copying it would take long."""


class Missing:
    """Stands for the value of a place that holds nothing; copying leaves a class what it is."""


@dataclass(frozen=True, eq=False)
class Place:
    """One value outside of the model: an entry of a module's globals, or an attribute of a class or function."""

    name: str
    holder: Any
    """A dictionary of globals, or an object that has the attribute."""
    key: str

    def get(self) -> object:
        """The value, or ``Missing``."""
        if isinstance(self.holder, dict):
            return self.holder.get(self.key, Missing)
        try:
            return getattr(self.holder, self.key, Missing)
        except ValueError:  # a cell that is empty
            return Missing

    def set(self, value: object) -> None:
        """Put a value there; ``Missing`` removes what is there."""
        if value is Missing:
            if isinstance(self.holder, dict):
                self.holder.pop(self.key, None)
            elif self.get() is not Missing:
                delattr(self.holder, self.key)
        elif isinstance(self.holder, dict):
            self.holder[self.key] = value
        else:
            setattr(self.holder, self.key, value)


def places(model: torch.nn.Module) -> list[Place]:
    """Return the places outside of the model that its own code names and that hold data, or may come to hold some."""
    search = _Search()
    for module in model.modules():
        for each in type(module).__mro__:
            search.enter(each)
        for value in list(vars(module).values()):  # a forward that was replaced, a hook
            search.enter(value)
    return list(search.found.values())


class _Search:
    """Follows the code of classes and functions from one to the next."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, str], Place] = {}
        self._seen: set[int] = set()

    def enter(self, value: object) -> None:
        if isinstance(value, MethodType):
            value = value.__func__
        if isinstance(value, property):
            for function in (value.fget, value.fset):
                self.enter(function)
        elif isinstance(value, staticmethod | classmethod):
            self.enter(value.__func__)
        elif isinstance(value, type | FunctionType) and id(value) not in self._seen and _is_users(value.__module__):
            self._seen.add(id(value))
            if isinstance(value, type):
                self._class(value)
            else:
                self._function(value)

    def _class(self, holder: type) -> None:
        for name, value in list(vars(holder).items()):
            self.enter(value)
            if not name.startswith("__"):
                self._add(f"{holder.__name__}.{name}", holder, name, value)

    def _function(self, function: FunctionType) -> None:
        name = function.__qualname__
        for attribute in ("__defaults__", "__kwdefaults__"):
            value = getattr(function, attribute)
            if value is not None:
                self._add(f"the default arguments of {name}", function, attribute, value)
        for attribute, value in list(vars(function).items()):
            self.enter(value)  # what a decorator wrapped
            self._add(f"{name}.{attribute}", function, attribute, value)
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            place = Place(f"{variable} of {name}", cell, "cell_contents")
            self.enter(place.get())
            self._add(place.name, cell, place.key, place.get())
        codes = list(_codes(function.__code__))
        named = {name for code in codes for name in code.co_names}
        made = {each.argval for code in codes for each in get_instructions(code) if each.opname == "STORE_GLOBAL"}
        self._globals(function.__globals__, named, made)

    def _globals(self, holder: dict[str, Any], named: set[str], made: Collection[str] = ()) -> None:
        for name in sorted(named & holder.keys() | set(made)):
            value = holder.get(name, Missing)
            if isinstance(value, ModuleType):
                # The names of a module's entries stand beside its own in the code.
                if _is_users(value.__name__) and id(value) not in self._seen:
                    self._seen.add(id(value))
                    self._globals(vars(value), named)
            else:
                self.enter(value)
                self._add(name, holder, name, value)

    def _add(self, name: str, holder: Any, key: str, value: object) -> None:
        large = isinstance(value, torch.Tensor) and value.numel() > LARGE
        if not large and (value is Missing or not isinstance(value, _CODE)):
            self.found.setdefault((id(holder), key), Place(name, holder, key))


_CODE = (type, FunctionType, MethodType, ModuleType, property, staticmethod, classmethod, torch.nn.Module)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code and that of the functions inside of it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


@cache
def _is_users(module: str | None) -> bool:
    """Whether a module is the user's own: neither of the standard library nor an installed package."""
    if not module or module.partition(".")[0] in {"almaflow", "torch", *sys.stdlib_module_names}:
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return file is None or not any(Path(file).is_relative_to(each) for each in installed)
