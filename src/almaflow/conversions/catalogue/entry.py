"""One entry of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.catalogue.requirements import Obstacle
    from almaflow.records.plan import RuntimeTraits


@dataclass(frozen=True)
class Conversion:
    """One way of running a PyTorch model."""

    name: str
    """Alma's name to the letter, where Alma has it."""
    number: int | None
    """Alma's number; None for what Alma has not."""
    family: str
    """What runs it, in one word: eager, export, inductor, onnx, openvino, quanto ..."""
    steps: tuple[str, ...]
    """The techniques in the order in which they are applied: the name split at its plus signs."""
    engine: str
    """Who builds it: ``alma``, ``native`` (here) or ``registered`` (another package)."""
    device: str
    """Where it can run: ``cpu``, ``cuda``, ``xla``, or ``any`` for the device that is asked for."""
    dtype: str
    """Arithmetic type; of a quantised model, the narrowest type that its weights pass through."""
    summary: str
    """What it does, in one line."""
    traits: RuntimeTraits
    """Of its runtime."""
    input_dtype: str = "float32"
    """What floating inputs are cast to before the timed call."""
    quantised: bool = False
    needs: tuple[str, ...] = ()
    """Packages as pip names them, PyTorch first, with version bounds where it takes some."""
    aliases: tuple[str, ...] = ()
    """Other names of the same thing."""
    in_alma: str | None = None
    """Where Alma has it: in the published release (``0.3.7``) or in its repository only (``HEAD``)."""
    builder: str | None = None
    """``module:function`` of what runs the model, where another package has it."""
    checks: tuple[Callable[[str], Obstacle | None], ...] = ()
    """What it needs beside packages, step by step."""
