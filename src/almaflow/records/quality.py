"""The evaluation of a model on labelled data: what is asked for, what a conversion lost, and the names of figures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

SECTION = "quality/"
"""How the metrics of an evaluation begin."""
DROP = ("_drop", "_drop_low", "_drop_high")
"""Ends of the metrics beside a figure: what it lost against eager, and the ends of the interval of that."""
_FIGURE = re.compile(r"\w[\w.\-]*")
_BESIDE = re.compile(rf"samples|.*(?:{'|'.join(DROP)})")
_ERRORS = frozenset(
    [
        "error",
        "errors",
        "err",
        "eer",
        "loss",
        "losses",
        "logloss",
        "mse",
        "msle",
        "rmse",
        "rmsle",
        "mae",
        "mape",
        "smape",
        "nll",
        "bce",
        "entropy",
        "crossentropy",
        "brier",
        "ece",
        "wer",
        "cer",
        "ter",
        "fid",
        "perplexity",
        "ppl",
    ]
)
"""Words of a figure's name that tell that less of it is better."""

_EVALUATIONS = "almaflow.worker.evaluations."
_FIGURES_OF = {
    "top1": ("top1",),
    "top5": ("top5",),
    "mse": ("mse",),
    "text": ("accuracy",),
    "mean_average_precision": ("map", "map_50"),
}
"""The figures of each function in that module."""
BOX_FORMATS = ("xyxy", "xywh", "cxcywh")
"""How four numbers are a box: two corners, a corner and the size, or the centre and the size."""


@dataclass(frozen=True)
class EvaluateSpec:
    """A callable that gives a model named figures of quality on the labelled samples of its data loader."""

    target: str
    """Import path of the callable."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    samples: float | None = None
    """Number of samples, or their share below 1; None: all that the loader gives."""
    max_drop: float | None = None
    """Largest loss against eager with which a conversion is recommended, in the figure's own unit; None: any."""
    lower_is_better: tuple[str, ...] = ()
    """Figures of which less is better although their names do not say so."""


@dataclass(frozen=True)
class QualityDrop:
    """What a figure lost against eager's on the same samples, and its 95% interval; a loss is positive."""

    value: float
    low: float | None = None
    """None where the figure is one number of the whole set, which says nothing of single samples."""
    high: float | None = None


def is_figure(name: str) -> bool:
    """Whether a figure may have this name: metrics beside figures have the other ones."""
    return _FIGURE.fullmatch(name) is not None and _BESIDE.fullmatch(name) is None


def is_error(figure: str, lower_is_better: Collection[str] = ()) -> bool:
    """Whether less of a figure is better: a word of its name says so (``val_loss``), or it is among those named."""
    return figure in lower_is_better or not _ERRORS.isdisjoint(re.split(r"[_.\-]", figure.lower()))


def figure_of(metric: str) -> str | None:
    """Return the figure that a metric is the value of; None of any other metric."""
    name = metric.removeprefix(SECTION)
    return name if metric.startswith(SECTION) and is_figure(name) else None


def is_quality_metric(metric: str) -> bool:
    """Whether a metric may come from an evaluation: a figure, what it lost, or the number of samples."""
    return metric.startswith(SECTION) and _FIGURE.fullmatch(metric.removeprefix(SECTION)) is not None


def metrics_of(figures: Iterable[str]) -> list[str]:
    """Return the metrics that an evaluation with these figures gives."""
    return [f"{SECTION}samples", *(f"{SECTION}{name}{end}" for name in figures for end in ("", *DROP))]


def figures_of(target: str | None) -> tuple[str, ...]:
    """Return the figures of an evaluation that is part of almaflow; none of any other, whose names it tells itself."""
    known = target is not None and target.startswith(_EVALUATIONS)
    return _FIGURES_OF.get((target or "").removeprefix(_EVALUATIONS), ()) if known else ()


def wrong_box_format(target: str | None, kwargs: Mapping[str, Any]) -> str | None:
    """Return the form of boxes that a detector's evaluation is asked for, where there is no such form."""
    form = kwargs.get("box_format", BOX_FORMATS[0])
    return None if target != f"{_EVALUATIONS}mean_average_precision" or form in BOX_FORMATS else f"{form}"
