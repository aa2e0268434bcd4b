"""The YAML files of ``conf/`` and their choices, read without Hydra."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from almaflow.errors import AlmaflowError

GROUPS = ("model", "hardware", "tier", "predictor", "measure", "evaluate", "tracking", "fleet", "experiment")
_VENDORS = {"nvidia", "intel", "amd", "aws", "core"}
"""Words that people put before the name of a machine and the configs do not."""
_PACKAGE = Path(__file__).resolve().parents[1]


def conf_dir() -> Path:
    """Return the directory of ``config.yaml``: inside an installed package, or at the top of a checkout.

    Raises:
        AlmaflowError: neither is there, so the installation is broken.
    """
    for directory in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf"):
        if (directory / "config.yaml").is_file():
            return directory
    message = "almaflow's configuration files are missing from this installation: install the package again"
    raise AlmaflowError(message)


def choices(group: str, *more: Path) -> dict[str, dict[str, Any]]:
    """Return the names and contents of a group's files, sorted by name.

    Args:
        group: one of ``GROUPS``.
        more: further configuration directories, as given to ``--config-dir``; the packaged file of a name wins, as
            it does for Hydra.

    Raises:
        KeyError: there is no such group.
    """
    if group not in GROUPS:
        raise KeyError(group)
    files: dict[str, dict[str, Any]] = {}
    for directory in (conf_dir(), *more):
        for file in (directory / group).glob("*.yaml"):
            files.setdefault(file.stem, yaml.safe_load(file.read_text(encoding="utf-8")) or {})
    return {name: _whole(name, files) for name in sorted(files)}


def model_sizes() -> dict[str, dict[str, Any]]:
    """Return the size of each configured model that needs no further setting, by its name.

    ``parameters`` is their number, ``gflops`` the 10^9 FLOPs of one forward call on one sample, a multiplication with
    its addition being two.
    """
    sizes: dict[str, dict[str, Any]] = json.loads((conf_dir() / "model_sizes.json").read_text(encoding="utf-8"))
    return sizes


def names(group: str, *more: Path) -> list[str]:
    """Return the names of a group's choices, sorted; the files are not read. For ``more`` see ``choices``."""
    return sorted({file.stem for directory in (conf_dir(), *more) for file in (directory / group).glob("*.yaml")})


def meant(group: str, name: str, *more: Path) -> str:
    """Return the choice that a name means as people write it: ``ResNet-18``, ``NVIDIA-H100``; else the name itself."""
    known = names(group, *more)
    if name in known:
        return name
    letters, words = _letters(name), _words(name)
    same = (each for each in known if letters and (_letters(each) == letters or (words and _words(each) == words)))
    return next(same, name)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower())) - _VENDORS


def _whole(name: str, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a file's keys over those of the files in its defaults list, which holds names of the group only."""
    keys = dict(files[name])
    bases = [_whole(base, files) for base in keys.pop("defaults", ()) if base in files and base != name]
    return {key: value for each in (*bases, keys) for key, value in each.items()}
