"""Reads which dimensions of a model's inputs are dynamic: names and ranges, where they are, and sizes to measure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from almaflow.errors import UsageError
from almaflow.records import BATCH, Axis, BatchSearch, DynamicDim, size_label, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.config.schema import ModelConfig

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
"""Names are parts of metrics' names."""
SEARCH = "search"
"""Among ``model.sizes``, the word that asks for a search."""
LATENCIES = ("latency_ms", *(f"latency/{name}" for name in ("floor", "mean", "min", "max", "p90", "p95", "p99")))
"""Limits of a call's time, which a search keeps to at each size."""
_ENDS = 2
"""A range has so many ends."""


def dynamic_dims(model: ModelConfig, batch_size: int) -> tuple[DynamicDim, ...]:
    """Return the dynamic dimensions; none where all sizes are fixed.

    Raises:
        UsageError: one line with the key, its value and what it has to be.
    """
    ranges = _ranges(model.dynamic)
    axes = _axes(model, tuple(ranges))
    for name in ranges:
        if name != BATCH and name not in axes:
            where = f"model.dynamic_axes, such as {{input_ids:{{1:{name}}}}}"
            message = f"model.dynamic: nothing says where {name} is; give {where}"
            raise UsageError(message)
    dims = tuple(DynamicDim(name, *ends, tuple(axes.get(name, ()))) for name, ends in ranges.items())
    for dim in dims:
        if dim.name == BATCH and not dim.has(batch_size):
            message = f"batch_size={batch_size}: is outside of model.dynamic, {dim}"
            raise UsageError(message)
    return dims


def further_sizes(model: ModelConfig, dims: Sequence[DynamicDim]) -> tuple[dict[str, int], ...]:
    """Return the sizes at which conversions are timed besides the example's.

    Raises:
        UsageError: one line with the key, its value and what it has to be.
    """
    if model.sizes is None:
        return ()
    by_name = {dim.name: dim for dim in dims}
    if not by_name:
        message = f"model.sizes={model.sizes}: all sizes are fixed; add model.dynamic=[batch]"
        raise UsageError(message)
    given = [model.sizes] if model.sizes == SEARCH else model.sizes
    if not isinstance(given, list):
        message = (
            f"model.sizes={given}: must be a list, such as [1,2,4,8] or [{{batch:8,sequence:64}}], or search for a "
            "batch size"
        )
        raise UsageError(message)
    sizes = [_size(each, by_name) for each in given if each != SEARCH]
    if twice := [size for number, size in enumerate(sizes) if size in sizes[:number]]:
        message = f"model.sizes: {size_text(twice[0])} is there twice"
        raise UsageError(message)
    return tuple(sizes)


def batch_search(
    model: ModelConfig, dims: Sequence[DynamicDim], limits: Mapping[str, float] | None = None
) -> BatchSearch | None:
    """Return the search for a batch size, with the limits of the latency among those given; None where none is asked.

    Raises:
        UsageError: the batch is not dynamic.
    """
    asked = model.sizes == SEARCH or (isinstance(model.sizes, list) and SEARCH in model.sizes)
    if not asked:
        return None
    batch = next((dim for dim in dims if dim.name == BATCH), None)
    if batch is None:
        message = "model.sizes=search: looks for a batch size; add model.dynamic=[batch]"
        raise UsageError(message)
    high = max(batch.low, BatchSearch.high) if batch.high is None else batch.high
    return BatchSearch(batch.low, high, {name: most for name, most in (limits or {}).items() if name in LATENCIES})


def unmeasured(metrics: Sequence[str], model: ModelConfig, batch_size: int) -> list[str]:
    """Return the problem of metrics at further sizes, such as ``size/8/latency_ms``, at which nothing is timed.

    Raises:
        UsageError: the dimensions or the sizes themselves are wrong.
    """
    dims = dynamic_dims(model, batch_size)
    labels = [size_label(size) for size in further_sizes(model, dims) if size != {BATCH: batch_size}]
    if labels and [dim.name for dim in dims] != [BATCH]:
        return []  # the example's sizes, which are parts of the names, are known when the model is loaded
    wrong = next((name for name in metrics if name.split("/")[1] not in labels), None)
    measured = f"model.sizes has {', '.join(labels)}" if labels else "add model.dynamic=[batch] model.sizes=[1,8]"
    return [f"choose: {wrong} is not measured; {measured}"] if wrong else []


def _size(given: Any, dims: Mapping[str, DynamicDim]) -> dict[str, int]:
    size = given if isinstance(given, Mapping) else {BATCH: given}
    if not size:
        message = "model.sizes: {} names no dimension; give sizes such as [1,2,4,8]"
        raise UsageError(message)
    for name, value in size.items():
        if name not in dims:
            message = f"model.sizes={given}: {name} is not dynamic; model.dynamic has {', '.join(dims)}"
            raise UsageError(message)
        if not _is_size(value):
            message = f"model.sizes: {name}={value} must be a whole number, 1 or more"
            raise UsageError(message)
        if not dims[name].has(value):
            message = f"model.sizes: {name}={value} is outside of model.dynamic, {dims[name]}"
            raise UsageError(message)
    return dict(size)


def _ranges(given: Any) -> dict[str, tuple[int, int | None]]:
    if given is None:
        return {}
    named = {given: None} if isinstance(given, str) else given
    if isinstance(named, list) and all(isinstance(name, str) for name in named):
        if twice := [name for number, name in enumerate(named) if name in named[:number]]:
            message = f"model.dynamic: {twice[0]} is there twice"
            raise UsageError(message)
        named = dict.fromkeys(named)
    if not isinstance(named, Mapping):
        message = f"model.dynamic={given}: must be names, such as [batch], or names with ranges, {{batch:[1,32]}}"
        raise UsageError(message)
    return {_named(name): _ends_of(name, ends) for name, ends in named.items()}


def _named(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"model.dynamic: {name!r} is no name, which has letters and digits and begins with a letter"
        raise UsageError(message)
    return name


def _ends_of(name: str, ends: Any) -> tuple[int, int | None]:
    if ends is None:
        return 1, None
    if isinstance(ends, list) and len(ends) == _ENDS and _is_size(ends[0]):
        low, high = ends
        if high is None or (_is_size(high) and low < high):
            return low, high
    message = f"model.dynamic.{name}={ends}: must be the smallest and the largest size, such as [1,32] or [1,null]"
    raise UsageError(message)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _axes(model: ModelConfig, names: Sequence[str]) -> dict[str, list[Axis]]:
    """Return where each named dimension is."""
    found: dict[str, list[Axis]] = {}
    inputs = model.inputs or []
    known = [each.name or str(number) for number, each in enumerate(inputs)]
    ranks = {name: len(each.shape) + (each.batch_dim is not None) for name, each in zip(known, inputs, strict=True)}
    given_axes = {} if model.dynamic_axes is None else model.dynamic_axes
    if not isinstance(given_axes, Mapping):
        message = f"model.dynamic_axes={given_axes}: must give names by input, such as {{input_ids:{{1:sequence}}}}"
        raise UsageError(message)
    for given, dims in ((str(given), dims) for given, dims in given_axes.items()):
        key = f"model.dynamic_axes.{given}"
        if known and given not in known and not (given.isdigit() and int(given) < len(known)):
            near = get_close_matches(given, known, n=1)
            message = f"{key}: none of model.inputs has that name; they are: {', '.join(near or known)}"
            raise UsageError(message)
        if not isinstance(dims, Mapping):
            message = f"{key}={dims}: must give names by the place of the dimension, such as {{0:batch,1:sequence}}"
            raise UsageError(message)
        for place, name in dims.items():
            if name not in names:
                message = f"{key}.{place}={name}: model.dynamic has no such name; it has {', '.join(names) or 'none'}"
                raise UsageError(message)
            if not str(place).isdecimal() or int(place) >= ranks.get(given, math.inf):
                most = f"below {ranks[given]}" if given in ranks else "0 or more"
                message = f"{key}.{place}={name}: the place of a dimension is a whole number, {most}"
                raise UsageError(message)
            found.setdefault(str(name), []).append(Axis(given, int(place)))
    return found
