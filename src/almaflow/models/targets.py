"""Imports and calls what a configuration names by its import path."""

from __future__ import annotations

import contextlib
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from almaflow.records import TargetSpec


def call_target(spec: TargetSpec, key: str, contract: str = "") -> object:
    """Import the target and call it with its keyword arguments.

    Args:
        spec: what to call.
        key: the configuration key that the target came from, for the messages.
        contract: what it is called for, for the message where it does not take the arguments.

    Raises:
        UsageError: it does not import, is no callable, raises, or exits the process.
    """
    return call(imported(spec.target, key), spec.kwargs, f"{key}._target_={spec.target}", contract)


def call(function: Any, kwargs: dict[str, Any], origin: str, contract: str = "") -> object:
    """Call what the user named.

    Raises:
        UsageError: it is no callable, or raises.
    """
    if not callable(function):
        message = f"{origin}: is a {type(function).__name__}, and must be a class or a function"
        raise UsageError(message)
    try:
        return function(**kwargs)
    except SystemExit as error:
        raise UsageError(_exits(origin, "calling it", error)) from error
    except Exception as error:
        arguments = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
        message = f"{origin}: calling it with ({arguments}) raised {described(error)}"
        if contract and isinstance(error, TypeError) and "argument" in str(error):
            message += f"; {contract}"
        raise UsageError(message) from error


def imported(target: str, key: str) -> Any:
    """Import the object at a dotted path: the longest prefix that is a module, then attributes.

    Raises:
        UsageError: it cannot be imported.
    """
    parts = target.split(".")
    if not all(part.isidentifier() for part in parts):
        message = f"{key}._target_={target}: is not an import path like my_package.my_module.MyModel"
        raise UsageError(message)
    origin = f"{key}._target_={target}"
    value, depth = _module(parts, origin)
    for name in parts[depth:]:
        value = _attribute(value, name, origin)
    return value


def _module(parts: list[str], origin: str) -> tuple[Any, int]:
    """Import the longest prefix of the path that is a module; returns it with its number of parts."""
    depth = len(parts)
    while True:
        module = ".".join(parts[:depth])
        try:
            return import_module(module), depth
        except ModuleNotFoundError as error:
            # Only where the path itself has no such module may the last part be an attribute of what is before it.
            if depth > 1 and error.name is not None and f"{module}.".startswith(f"{error.name}."):
                depth -= 1
                continue
            message = f"{origin}: cannot be imported ({error}); install it, or add its directory to PYTHONPATH"
            raise UsageError(message) from error
        except SystemExit as error:
            raise UsageError(_exits(origin, "importing it", error)) from error
        except Exception as error:
            message = f"{origin}: importing it raised {described(error)}"
            raise UsageError(message) from error


def _attribute(holder: Any, name: str, origin: str) -> Any:
    try:
        return getattr(holder, name)
    except AttributeError as error:
        near = get_close_matches(name, dir(holder), n=3)
        nearest = f"; nearest: {', '.join(near)}" if near else ""
        message = f"{origin}: {getattr(holder, '__name__', repr(holder))} has no {name!r}{nearest}"
        raise UsageError(message) from error
    except Exception as error:  # packages that import on first use, and lack what that part needs
        message = f"{origin}: importing {name} raised {described(error)}"
        raise UsageError(message) from error


def _exits(origin: str, doing: str, error: SystemExit) -> str:
    return (
        f"{origin}: {doing} exits the process ({described(error)}), as a script does that reads the command line; "
        "put that under `if __name__ == '__main__':`"
    )


def started_in(directory: str | None) -> AbstractContextManager[None]:
    """Work in the directory where the command was started: a caller's relative paths are meant from there."""
    return contextlib.chdir(directory) if directory and Path(directory).is_dir() else contextlib.nullcontext()


def described(error: BaseException) -> str:
    """Return the class and text of an error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
