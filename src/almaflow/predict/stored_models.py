"""Models of stored configurations, which somebody else may have written: what building them would run.

Only architectures that almaflow brings are built, from arguments that are plain values. Anything else is code of the
writer's choice, or may lead to a file with code.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from almaflow.config.files import choices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.records import ModelSpec

_PLAIN = re.compile(r"[A-Za-z0-9_][\w.-]{0,99}")
"""A word: no path to another directory, no address, no ``hf-hub:NAME``."""
_FILES = re.compile(r"cache|checkpoint|dir|file|hub|path|pretrained|repo|url|weights", re.IGNORECASE)
"""Names of arguments that may lead to a file or to a download."""


def code_of(model: ModelSpec) -> tuple[str, ...]:
    """Return what building a stored model would call or read beyond what almaflow brings; nothing for a built-in."""
    return tuple(_code(model))


def as_data(model: ModelSpec) -> ModelSpec:
    """Return a stored model as predictors may have it: its name and inputs, and nothing that could be built."""
    return replace(
        model,
        target=None,
        arch=None,
        weights=None,
        kwargs={},
        data_loader=None,
        pickle_path=None,
        batches_path=None,
        directory=None,
    )


def _code(model: ModelSpec) -> Iterator[str]:
    if model.target and model.target not in _own_targets():
        yield model.target
    if model.data_loader:
        yield model.data_loader.target
    yield from filter(None, (model.pickle_path, model.batches_path, model.weights))
    yield from (
        f"{name}={value!r} of {model.target or model.arch}"
        for name, value in model.kwargs.items()
        if not _is_plain(value) or (_FILES.search(name) and value is not None)
    )


@cache
def _own_targets() -> frozenset[str]:
    return frozenset(str(each["_target_"]) for each in choices("model").values() if each.get("_target_"))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return (
        value is None
        or isinstance(value, (bool, int, float))
        or (isinstance(value, str) and _PLAIN.fullmatch(value) is not None)
    )
