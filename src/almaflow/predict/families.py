"""Families of models: siblings tell of each other."""

from __future__ import annotations

import re


def family_of(model: str) -> str:
    """``resnet`` of ``resnet18``, ``mobilenet`` of ``mobilenet_v3_small``: the letters that the name begins with."""
    found = re.match(r"[^\W\d_]+", model)
    return found[0].lower() if found else model
