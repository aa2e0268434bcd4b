"""Runs an application's file as a program, with functions of it decorated: the file itself is not changed."""

from __future__ import annotations

import ast
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import CodeType

_DECORATOR = "__import__('almaflow').accelerate"


def decorated(path: Path, functions: Sequence[str]) -> CodeType:
    """Return the code of a file in which these functions have the decorator ``almaflow.accelerate``.

    Args:
        path: A file of Python.
        functions: Functions at its top, or methods of classes as ``Class.method``.

    Raises:
        UsageError: the file is no Python, or has no such function.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})"
        raise UsageError(message) from error
    except (SyntaxError, ValueError) as error:
        message = f"{path}: is no Python that this interpreter reads ({error})"
        raise UsageError(message) from error
    for name in functions:
        node = _found(tree, name)
        if node is None:
            defined = ", ".join(_defined(tree)) or "none"
            message = f"--function {name}: {path} defines no such function; its functions: {defined}"
            raise UsageError(message)
        # The outermost: it gets what the function's own decorators make of it.
        decorator = ast.parse(_DECORATOR, mode="eval").body
        for part in ast.walk(decorator):
            ast.copy_location(part, node)  # a function begins in the line of its first decorator
        node.decorator_list.insert(0, decorator)
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


def run_application(path: Path, code: CodeType, arguments: Sequence[str]) -> None:
    """Run code as the main program, with the directory of its file first on the path of modules.

    Raises:
        SystemExit: the application ended so.
        Exception: whatever the application raises.
    """
    with _as_program(path, arguments) as module:
        exec(code, vars(module))  # noqa: S102 - the user's own application, which the user asked to run


@contextmanager
def _as_program(path: Path, arguments: Sequence[str]) -> Iterator[ModuleType]:
    module = ModuleType("__main__")
    module.__file__ = str(path)
    before = sys.argv, sys.path[:], sys.modules["__main__"]
    sys.argv, sys.path[:0] = [str(path), *arguments], [str(path.resolve().parent)]
    sys.modules["__main__"] = module
    try:
        yield module
    finally:
        sys.argv, sys.path[:], sys.modules["__main__"] = before


def _found(tree: ast.AST, name: str) -> ast.FunctionDef | None:
    top, _, rest = name.partition(".")
    for node in getattr(tree, "body", ()):
        if isinstance(node, ast.ClassDef) and node.name == top and rest:
            return _found(node, rest)
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    return None


def _defined(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    for node in getattr(tree, "body", ()):
        if isinstance(node, ast.FunctionDef):
            yield f"{prefix}{node.name}"
        elif isinstance(node, ast.ClassDef):
            yield from _defined(node, f"{prefix}{node.name}.")
