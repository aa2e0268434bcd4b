"""Figures of quality by the names of ``evaluate=NAME``, as scores of single samples.

Each function but the last takes the model's outputs on some samples and their labels, and returns a tensor of one score
per sample for each name. The outputs are a tensor, or a mapping of tensors where the model gives several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

UNLABELLED = -100
"""Label of a token that does not count, as in ``torch.nn.CrossEntropyLoss``."""


def top1(outputs: Any, labels: Any) -> dict[str, torch.Tensor]:
    """Score 1 where the largest logit is that of the label. Logits (N, C), labels (N,)."""
    return {"top1": _among(outputs, labels, 1)}


def top5(outputs: Any, labels: Any) -> dict[str, torch.Tensor]:
    """Score 1 where the label is among the five largest logits. Logits (N, C), labels (N,)."""
    return {"top5": _among(outputs, labels, 5)}


def mse(outputs: Any, labels: Any) -> dict[str, torch.Tensor]:
    """Give the mean squared error of each sample. Outputs and labels (N, ...), of the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    found, wanted = _first(outputs).double(), torch.as_tensor(labels).double()
    if found.shape != wanted.shape:
        message = f"outputs of shape {tuple(found.shape)} and labels of shape {tuple(wanted.shape)} must be alike"
        raise ValueError(message)
    return {"mse": (found - wanted).square().flatten(1).mean(1) if found.dim() > 1 else (found - wanted).square()}


def text(outputs: Any, labels: Any) -> dict[str, torch.Tensor]:
    """Give the share of right classes in each sample.

    Logits (N, C) with labels (N,) are of whole texts; (N, L, C) with (N, L) are of tokens, of which those with the
    label -100 do not count.

    Raises:
        ValueError: the shapes do not fit, or a sample has no token that counts.
    """
    logits, wanted = _first(outputs), torch.as_tensor(labels)
    if logits.shape[:-1] != wanted.shape:
        shapes = tuple(logits.shape), tuple(logits.shape[:-1]), tuple(wanted.shape)
        message = "logits of shape {} need labels of shape {}, and they have {}".format(*shapes)
        raise ValueError(message)
    counted = wanted != UNLABELLED
    right = (logits.argmax(-1) == wanted) & counted & ~logits.isnan().any(-1)
    if wanted.dim() == 1:
        right, counted = right[:, None], counted[:, None]
    right, counted = right.flatten(1).sum(1), counted.flatten(1).sum(1)
    if not bool(counted.all()):
        message = f"a sample has no label but {UNLABELLED}"
        raise ValueError(message)
    return {"accuracy": right.double() / counted}


def mean_average_precision(
    predict: Callable[[Any], Any],
    loader: Iterable[tuple[Any, Any]],
    box_format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy",
) -> dict[str, float]:
    """Give the mean average precision of a detector: see ``detections``."""
    from almaflow.worker.detections import average_precision

    return average_precision(predict, loader, box_format)


def _among(outputs: Any, labels: Any, count: int) -> torch.Tensor:
    logits, wanted = _first(outputs), torch.as_tensor(labels)
    wanted = wanted[:, 0] if wanted.dim() == 2 and wanted.shape[1] == 1 else wanted  # noqa: PLR2004 - a column
    if logits.dim() != 2 or wanted.shape != logits.shape[:1] or wanted.is_floating_point():  # noqa: PLR2004 - rows and classes
        message = f"logits (N, C) need labels (N,) of whole numbers, and these are {tuple(logits.shape)} and "
        raise ValueError(message + f"{tuple(wanted.shape)} {str(wanted.dtype).removeprefix('torch.')}")
    classes, wanted = logits.shape[1], wanted.long()
    if not bool(((wanted >= 0) & (wanted < classes)).all()):
        message = f"labels of {classes} classes go from 0 to {classes - 1}, and one is "
        raise ValueError(message + str(int(wanted[(wanted < 0) | (wanted >= classes)][0])))
    # By rank, so that equal logits beside the label's do not hide it by their place.
    of_label = logits.gather(1, wanted[:, None])
    better = (logits > of_label).sum(1)
    earlier = ((logits == of_label) & (torch.arange(classes) < wanted[:, None])).sum(1)
    # Compared with NaN nothing is larger, which is no right answer.
    return ((better + earlier < count) & ~logits.isnan().any(1)).double()


def _first(outputs: Any) -> torch.Tensor:
    """Return the output that is judged: ``logits`` of several, else the first."""
    if isinstance(outputs, Mapping):
        found = outputs.get("logits", next(iter(outputs.values())))
        assert isinstance(found, torch.Tensor)  # noqa: S101 - for the type checker
        return found
    assert isinstance(outputs, torch.Tensor)  # noqa: S101 - for the type checker
    return outputs
