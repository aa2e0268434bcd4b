"""Hardware configs under almaflow's home, with the limits and costs of this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from cattrs.errors import ClassValidationError

from almaflow import machine
from almaflow.errors import UsageError
from almaflow.records import LearnedCosts, Limits, from_dict, to_dict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MATCHES = {"cpu": "cpu_match", "cuda": "gpu_match"}
"""The field of a hardware config that names the processor, by device."""
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_BROKEN = (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, re.error, ClassValidationError)


@dataclass(frozen=True)
class Calibration:
    """A machine that ``almaflow calibrate`` has measured."""

    name: str
    device: str
    """``cpu`` or ``cuda``."""
    processor: str
    """The name of the CPU's model, or the GPU's."""
    description: str
    threads: int
    measured: dict[str, Any]
    """The limits as the config has them."""
    learnt: dict[str, LearnedCosts] = field(default_factory=dict)
    """Learned costs by their source: ``kernels`` are small networks alone, ``history`` adds the store's models."""
    remark: str = ""

    @property
    def limits(self) -> Limits:
        """The limits as predictors take them."""
        return from_dict(Limits, self.measured)


def config_path(name: str) -> Path:
    """Return the file of the hardware config of that name.

    Raises:
        UsageError: a hardware config cannot have that name.
    """
    if not _NAME.fullmatch(name):
        message = f"--name {name}: a hardware config is named by letters, digits, _ and -"
        raise UsageError(message)
    return machine.home() / "conf" / "hardware" / f"{name}.yaml"


def check_writable(files: Iterable[Path]) -> None:
    """Check before minutes of measuring that the files can be written.

    Raises:
        UsageError: a file cannot be written.
    """
    for file in files:
        path = file.absolute()
        existing = next(each for each in (path, *path.parents) if each.exists())
        if not os.access(existing, os.W_OK) or (existing != path and not existing.is_dir()):
            message = f"{file}: cannot be written"
            raise UsageError(message)


def text_of(calibration: Calibration) -> str:
    """Return the hardware config as YAML, a line for each class of operations."""
    config = {
        "name": calibration.name,
        "device": calibration.device,
        "threads": calibration.threads,
        MATCHES[calibration.device]: f"^{re.escape(calibration.processor)}$",
        "description": calibration.description,
        "limits": calibration.measured,
        "learnt": {source: _nested(each) for source, each in calibration.learnt.items()},
    }
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=1000)
    return f"# {calibration.remark}\n{text}"


def read(name: str) -> Calibration:
    """Read the calibration that was written under that name.

    Raises:
        UsageError: there is no such file, or it was edited wrongly.
    """
    try:
        return _read(config_path(name))
    except _BROKEN as error:
        message = f"nothing was calibrated as {name}: run `almaflow calibrate --name {name}` first"
        raise UsageError(message) from error


def calibrated_here(processor: str, threads: int) -> Calibration | None:
    """Return the newest calibration of this CPU or GPU with as many threads; None where none can be read."""
    files = (machine.home() / "conf" / "hardware").glob("*.yaml")
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            calibration = _read(file)
        except _BROKEN:
            continue
        if calibration.threads == threads and calibration.processor == processor:
            return calibration
    return None


def _read(file: Path) -> Calibration:
    text = file.read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    device = config["device"]
    calibration = Calibration(
        name=file.stem,
        device=device,
        processor=re.sub(r"\\(.)", r"\1", config[MATCHES[device]].removeprefix("^").removesuffix("$")),
        description=config.get("description", ""),
        threads=config["threads"],
        measured=config["limits"],
        learnt=learnt_from(config.get("learnt")),
        remark=text.partition("\n")[0].removeprefix("# "),
    )
    _ = calibration.limits  # an error in them is one of the file
    return calibration


def _nested(learnt: LearnedCosts) -> dict[str, Any]:
    """Return the costs with nested parameters: ``conv/gflops`` becomes ``gflops`` of ``conv``."""
    data: dict[str, Any] = to_dict(learnt)
    for backend in data["backends"].values():
        by_class: dict[str, Any] = {}
        for key, value in backend["parameters"].items():
            first, _, rest = key.partition("/")
            if rest:
                by_class.setdefault(first, {})[rest] = value
            else:
                by_class[first] = value
        backend["parameters"] = by_class
    data["runs"] = list(data["runs"])
    return data


def learnt_from(data: Any) -> dict[str, LearnedCosts]:
    """Return the learned costs of a hardware config, by their source.

    Raises:
        ClassValidationError, KeyError, TypeError, AttributeError: the data are not what ``text_of`` writes.
    """
    return from_dict(dict[str, LearnedCosts], {source: _flat(each) for source, each in (data or {}).items()})


def _flat(data: Any) -> Any:
    backends = {}
    for name, backend in data["backends"].items():
        flat: dict[str, Any] = {}
        for key, value in backend["parameters"].items():
            flat |= (
                {f"{key}/{each}": number for each, number in value.items()} if isinstance(value, dict) else {key: value}
            )
        backends[name] = backend | {"parameters": flat}
    return data | {"backends": backends}
