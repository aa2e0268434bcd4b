"""Image models of other libraries by name, with random weights."""

from __future__ import annotations

from typing import Any

import torch

from almaflow.models.optional import optional


def timm(model_name: str, **options: Any) -> torch.nn.Module:
    """A model of timm, PyTorch Image Models.

    Args:
        model_name: As ``timm.list_models()`` has it.
        options: Further arguments of ``timm.create_model``.

    Raises:
        UsageError: timm is not installed.
    """
    model: torch.nn.Module = optional("timm", "timm").create_model(model_name, pretrained=False, **options)
    return model


class Detections(torch.nn.Module):
    """A YOLO without what comes after its network: boxes and class scores of all anchors, (N, 4 + classes, anchors)."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Wrap a detection model of ultralytics."""
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Of the model's outputs the decoded one; the others are for training."""
        output = self.model(image)
        decoded: torch.Tensor = output[0] if isinstance(output, tuple | list) else output
        return decoded


def yolo(cfg: str = "yolov8n.yaml") -> Detections:
    """A YOLO from its yaml: ultralytics has those of its models, a path may name another.

    Raises:
        UsageError: ultralytics is not installed.
    """
    model = optional("ultralytics.nn.tasks", "yolo").DetectionModel(cfg, verbose=False)
    for module in model.modules():
        if hasattr(module, "export"):
            module.export = True  # no outputs beside the decoded one, and nothing kept between calls
    return Detections(model)
