"""Mean average precision of detectors, as torchmetrics computes it after COCO's evaluation.

Outputs and labels come in several forms, which are brought into one: for each image corners of boxes in pixels, classes
and, of outputs, scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

UNLABELLED = -100
"""Class of a box that only fills up the labels of an image."""
BOX = 4
OUTPUTS = "boxes (N, K, 4), scores (N, K) and labels (N, K), or one output (N, K, 6) of corners, score and class"
LABELS = "boxes (M, 4) and labels (M,) of each image, or of all (N, M, 4) and (N, M), filled up with the label -100"


def average_precision(
    predict: Callable[[Any], Any], loader: Iterable[tuple[Any, Any]], box_format: Literal["xyxy", "xywh", "cxcywh"]
) -> dict[str, float]:
    """Return the mean average precision over all images, classes and overlaps, and that at an overlap of a half.

    Args:
        predict: Calls the model on some images.
        loader: Gives images and their labels.
        box_format: ``xyxy``, ``xywh`` or ``cxcywh``, of outputs and labels alike.

    Raises:
        UsageError: torchmetrics, or what it computes with, is not installed.
        ValueError: outputs or labels have none of the forms, or no image has a box.
    """
    try:
        from torchmetrics.detection import MeanAveragePrecision

        metric = MeanAveragePrecision(box_format=box_format)
    except ImportError as error:
        message = "evaluate=map: needs torchmetrics and pycocotools; pip install torchmetrics pycocotools"
        raise UsageError(message) from error
    metric.warn_on_many_detections = False  # COCO's count is what the figure means
    for images, labels in loader:
        wanted = targets_of(labels)
        found = detections_of(predict(images))
        if len(found) != len(wanted):
            message = f"outputs of {len(found)} images, and labels of {len(wanted)}"
            raise ValueError(message)
        metric.update(found, wanted)
    figures = metric.compute()
    if float(figures["map"]) < 0:  # COCO's way to say that there is none
        message = "no image has a box among its labels, so that there is no average precision"
        raise ValueError(message)
    return {"map": float(figures["map"]), "map_50": float(figures["map_50"])}


def detections_of(outputs: Any) -> list[dict[str, torch.Tensor]]:
    """Bring outputs into boxes, scores and labels of each image.

    Raises:
        ValueError: they have none of the forms that are known.
    """
    if isinstance(outputs, torch.Tensor) and outputs.dim() == 3 and outputs.shape[2] == BOX + 2:  # noqa: PLR2004 - images, boxes, columns
        boxes, scores, labels = outputs[..., :BOX], outputs[..., BOX], outputs[..., BOX + 1]
    elif isinstance(outputs, Mapping) and {"boxes", "scores", "labels"} <= outputs.keys():
        boxes, scores, labels = (outputs[name] for name in ("boxes", "scores", "labels"))
    elif isinstance(outputs, Mapping) and len(outputs) == 3 and not any(map(str.isalpha, "".join(outputs))):  # noqa: PLR2004 - the outputs of a tuple have numbers for names
        boxes, scores, labels = outputs.values()
    else:
        named = dict(outputs) if isinstance(outputs, Mapping) else {"one output": outputs}
        told = ", ".join(f"{name} {tuple(value.shape)}" for name, value in named.items())
        message = f"a detector gives {OUTPUTS}, and this one gives {told}"
        raise ValueError(message)
    if boxes.shape != (*scores.shape, BOX) or labels.shape != scores.shape or scores.dim() != 2:  # noqa: PLR2004 - images and boxes
        shapes = " and ".join(str(tuple(each.shape)) for each in (boxes, scores, labels))
        message = f"a detector gives {OUTPUTS}, and this one gives {shapes}"
        raise ValueError(message)
    rows = zip(boxes.float(), scores.float(), labels.round().long(), strict=True)
    return [{"boxes": box, "scores": score, "labels": label} for box, score, label in rows]


def targets_of(labels: Any) -> list[dict[str, torch.Tensor]]:
    """Bring the labels of some images into boxes and classes of each.

    Raises:
        ValueError: they have none of the forms that are known.
    """
    several = labels
    if isinstance(labels, Mapping) and {"boxes", "labels"} <= labels.keys():
        several = [
            {"boxes": box, "labels": label} for box, label in zip(labels["boxes"], labels["labels"], strict=True)
        ]
    if not isinstance(several, Sequence) or not all(
        isinstance(each, Mapping) and {"boxes", "labels"} <= each.keys() for each in several
    ):
        message = f"labels of a detector are {LABELS}"
        raise ValueError(message)
    return [_target(torch.as_tensor(each["boxes"]), torch.as_tensor(each["labels"])) for each in several]


def _target(boxes: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    if labels.dim() != 1 or boxes.numel() != BOX * len(labels):
        message = f"labels of a detector are {LABELS}; an image has {tuple(boxes.shape)} and {tuple(labels.shape)}"
        raise ValueError(message)
    counted = labels != UNLABELLED
    return {"boxes": boxes.reshape(-1, BOX).float()[counted], "labels": labels[counted].long()}
