"""Find the package graphs, its version and its analyzer, whose module changed over time."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from importlib import import_module, metadata, util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

PACKAGES = ("estimation", "analysis")
"""Packages within graphs that had the analyzer: since January 2026, and before."""

GIT_TIMEOUT_S = 5.0


def find_home() -> Path | None:
    """Return the directory of graphs without importing it, which would take the seconds that torch needs.

    graphs has no ``__init__``: every directory called graphs on the path is a part of it, the user's own too.
    """
    spec = util.find_spec("graphs")
    parts = [Path(path) for path in spec.submodule_search_locations or ()] if spec else []
    return next((part for part in parts if any((part / name / "__init__.py").is_file() for name in PACKAGES)), None)


def analyzer_module() -> ModuleType:
    """Return the module with the analyzer, the newest first: beside it, the older one only warns that it is deprecated.

    Raises:
        ImportError: no module has the analyzer, or something that graphs imports is missing.
    """
    for name in (f"graphs.{package}{module}" for module in (".unified_analyzer", "") for package in PACKAGES):
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            # The module itself may be missing, but nothing that it imports.
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            continue
        if hasattr(module, "UnifiedAnalyzer"):
            return module
    message = "it has no UnifiedAnalyzer"
    raise ImportError(message)


def version_at(home: Path) -> str:
    """Return the number and the commit, as far as either is known: the number alone stays the same for months."""
    number, commit = _installed(home)
    parts = (_project_number(home) or number, _described(home) or commit)
    return " ".join(part for part in parts if part) or "of an unknown version"


def _installed(home: Path) -> tuple[str | None, str | None]:
    """Return the number and commit that pip has noted, if pip installed this directory."""
    try:
        distribution = metadata.distribution("graphs")
    except metadata.PackageNotFoundError:
        return None, None
    if Path(str(distribution.locate_file("graphs"))).resolve() != home.resolve():
        return None, None
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return distribution.version, origin.get("vcs_info", {}).get("commit_id", "")[:9] or None


def _project_number(home: Path) -> str | None:
    """Return the number in the source tree that graphs is imported from."""
    try:
        text = (home.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        project = tomllib.loads(text).get("project", {})
    except (OSError, IndexError, ValueError):
        return None
    return project.get("version") if project.get("name") == "graphs" else None


def _described(home: Path) -> str | None:
    """Return the commit of the checkout that graphs is imported from."""
    # An environment may lie within a checkout of something else.
    if _git(home, "rev-parse", "--show-prefix") != f"src/{home.name}/":
        return None
    return _git(home, "describe", "--always", "--dirty", "--tags")


def _git(home: Path, *arguments: str) -> str | None:
    command = [shutil.which("git") or "git", "--no-optional-locks", "-C", str(home), *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=GIT_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
