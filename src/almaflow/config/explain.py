"""Hydra's and OmegaConf's errors in one line that says what to do."""

from __future__ import annotations

import dataclasses
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from almaflow.config.files import GROUPS, meant, names
from almaflow.config.schema import JobConfig
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FEW = 6
"""So many choices are listed beside the nearest one."""
_HINTS = {
    "model": "all: `almaflow models`; any torchvision model: model=torchvision model.arch=NAME",
    "hardware": "all: `almaflow hardware`; this machine as it is: hardware=auto",
}
# OmegaConf's reasons in words that need no knowledge of its types.
_REASONS = (
    (re.compile(r"could not be converted to Integer"), "must be a whole number"),
    (re.compile(r"could not be converted to Float"), "must be a number"),
    (re.compile(r"is not a valid bool|could not be converted to Boolean"), "must be true or false"),
    (re.compile(r"is not a ListConfig, list or tuple"), "must be a list in brackets, e.g. [A,B]"),
    (re.compile(r"is not Optional"), "must have a value"),
    (re.compile(r"^Invalid value '.*', expected one of \[(?P<words>.*)\]"), r"must be one of \g<words>"),
    (re.compile(r"^Invalid type assigned: \w+ is not a subclass of InputConfig"), "must be a list of {shape: [...]}"),
)
# Hydra names the override in its text only: before the reason of a wrong value, behind that of a wrong key.
_OVERRIDE = re.compile(r"(?:^Error merging override |To append to your config use \+)(?P<override>.*)$", re.DOTALL)
_SEVERAL = re.compile(r"^Ambiguous value for argument '(?P<override>.*?)'\n")
_FILE = re.compile(r"^In '(?P<file>[^']+)': \w+ raised while composing config")


def explain(error: Exception) -> UsageError | None:
    """Return the user's mistake behind an error of composing or reading a configuration.

    Returns:
        An error of one line, or None where the error is not about the configuration.
    """
    if isinstance(error, UsageError):
        return error
    text = None
    if isinstance(error, MissingConfigException):
        text = _wrong_choice(error)
    elif isinstance(error, OverrideParseException):
        text = _no_override(str(error.override))
    elif isinstance(error, (HydraException, OmegaConfBaseException)):
        text = _wrong_key_or_value(error)
    elif isinstance(error, YAMLError):
        text = f"a configuration file is not valid YAML: {_one_line(str(error))}"
    elif isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        text = "a configuration group takes the name of one of its choices, e.g. model=resnet18"
    elif isinstance(error, ValueError) and str(error).startswith("Only one of --run"):
        text = "-m, --cfg and --info exclude each other: leave -m out to see the configuration"
    return UsageError(text) if text else None


def _no_override(word: str) -> str:
    """Return the line about a word that is no override, perhaps the name of a choice without its group."""
    for group in GROUPS:
        if (choice := meant(group, word)) in names(group):
            return f"{word}: is not of the form KEY=VALUE; did you mean {group}={choice}?"
    return f"{word}: is not of the form KEY=VALUE; quote a value that has spaces or brackets"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _wrong_choice(error: MissingConfigException) -> str:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    if not group or error.options is None:
        return _first_line(str(error))
    options = sorted(error.options)
    near = get_close_matches(choice, options, n=1)
    parts = [f"{group}={choice}: no such {group}", *(f"nearest: {name}" for name in near)]
    if len(options) <= FEW or not near:
        parts.append(f"choices: {', '.join(options)}")
    parts += [_HINTS[group]] if group in _HINTS else []
    return "; ".join(parts)


def _wrong_key_or_value(error: BaseException) -> str:
    # The outer error names the override or the file, and the one beneath it the fault.
    inner = next((cause for cause in _causes(error) if isinstance(cause, OmegaConfBaseException)), None)
    message = str(error)
    if inner is None:
        return _composition(message)
    match = _OVERRIDE.search(message)
    file = _FILE.search(message)
    where = _one_line(match["override"]) if match else file["file"] if file else ""
    if isinstance(inner, (ConfigAttributeError, ConfigKeyError)):
        return _wrong_key(inner, where)
    reason = _reason(_first_line(str(inner)))
    where = where or str(inner.full_key or "")
    return f"{where}: {reason}" if where else reason


def _composition(message: str) -> str:
    """Return Hydra's own message about the choice of files, in one line."""
    if match := _SEVERAL.match(message):
        return f"{match['override']}: several values are a sweep, which takes -m; a list is written in brackets"
    return _one_line(message)


def _reason(text: str) -> str:
    for pattern, plain in _REASONS:
        if match := pattern.search(text):
            return match.expand(plain)
    return text


def _wrong_key(inner: OmegaConfBaseException, where: str) -> str:
    """Return the line about a key that the schema does not have, with the nearest ones that it has."""
    full = str(inner.full_key or inner.key)
    prefix, _, name = full.rpartition(".")
    if "/" in full:
        return f"{where}: no such configuration group; groups: {', '.join(GROUPS)}"
    key = where.partition("=")[0]
    text = f"{key}: no such key" if not where or key == full else f"{where}: no such key: {full}"
    holder = inner.object_type
    if not (isinstance(holder, type) and dataclasses.is_dataclass(holder)):
        return text
    own = [f"{prefix}.{field.name}" if prefix else field.name for field in dataclasses.fields(holder)]
    near = get_close_matches(full, own, n=3, cutoff=0.7)
    if holder is JobConfig:  # perhaps the right key without the group it is in
        near += [other for other in keys() if other.rpartition(".")[2] == name]
    return f"{text}; nearest: {', '.join(near)}" if near else f"{text}; keys: {', '.join(own)}"


def keys() -> list[str]:
    """Return every key of a job, with dots."""

    def below(values: Mapping[Any, Any], prefix: str) -> Iterator[str]:
        for key, value in values.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from below(value, f"{prefix}{key}.")

    values = OmegaConf.to_container(OmegaConf.structured(JobConfig))
    return list(below(values, "")) if isinstance(values, dict) else []
