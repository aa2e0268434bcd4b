"""Limits that were measured on this machine: hardware configs under almaflow's home."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from cattrs.errors import ClassValidationError

from almaflow import machine
from almaflow.errors import UsageError
from almaflow.records import Limits, from_dict

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.machine import Machine

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def place(name: str) -> Path:
    """Where the hardware config of that name goes.

    Raises:
        UsageError: it is no name that a hardware config can have.
    """
    if not _NAME.fullmatch(name):
        message = f"--name {name}: a hardware config is named by letters, digits, _ and -"
        raise UsageError(message)
    return machine.home() / "conf" / "hardware" / f"{name}.yaml"


def text_of(name: str, here: Machine, threads: int, limits: dict[str, Any], remark: str) -> str:
    """The hardware config as YAML."""
    config = {
        "name": name,
        "device": "cpu",
        "threads": threads,
        "cpu_match": f"^{re.escape(here.cpu)}$",
        "description": f"{here.cpu}, {here.physical_cores} cores",
        "limits": limits,
    }
    return f"# {remark}\n{yaml.safe_dump(config, sort_keys=False, allow_unicode=True)}"


def measured_limits(here: Machine, threads: int) -> Limits | None:
    """What ``almaflow calibrate`` found on this CPU with as many threads; None where it never ran, or is unreadable."""
    files = sorted((machine.home() / "conf" / "hardware").glob("*.yaml"))
    for file in files:
        try:
            found = yaml.safe_load(file.read_text(encoding="utf-8"))
            if found["threads"] == threads and re.search(found["cpu_match"], here.cpu):
                return from_dict(Limits, found["limits"])
        except (OSError, yaml.YAMLError, KeyError, TypeError, re.error, ClassValidationError):
            continue
    return None
