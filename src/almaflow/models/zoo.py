"""Builds image models of other libraries by name, with random weights."""

from __future__ import annotations

from typing import Any

import torch

from almaflow.models.optional import optional


def timm(model_name: str, **options: Any) -> torch.nn.Module:
    """Build a model of timm, PyTorch Image Models.

    Args:
        model_name: A name of ``timm.list_models()``.
        options: Further arguments of ``timm.create_model``.

    Raises:
        UsageError: timm is not installed.
    """
    model: torch.nn.Module = optional("timm", "timm").create_model(model_name, pretrained=False, **options)
    return model


class Detections(torch.nn.Module):
    """A YOLO of ultralytics without post-processing: boxes and class scores, (N, 4 + classes, anchors)."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        output = self.model(image)  # the decoded boxes and scores, perhaps with outputs that are for training
        decoded: torch.Tensor = output[0] if isinstance(output, tuple | list) else output
        return decoded


def yolo(cfg: str = "yolov8n.yaml") -> Detections:
    """Build a YOLO from its yaml: the name of one of ultralytics' own, or a path.

    Raises:
        UsageError: ultralytics is not installed.
    """
    model = optional("ultralytics.nn.tasks", "yolo").DetectionModel(cfg, verbose=False)
    for module in model.modules():
        if hasattr(module, "export"):
            module.export = True  # no outputs beside the decoded one, and nothing kept between calls
    return Detections(model)
