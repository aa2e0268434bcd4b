"""Define an entry of the catalogue."""

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
    """Alma's exact name if Alma has the conversion."""
    number: int | None
    """Alma's number; None if Alma does not have the conversion."""
    family: str
    """The runtime or technique in one word: eager, export, inductor, onnx, openvino, quanto ..."""
    steps: tuple[str, ...]
    """Techniques in the order in which they are applied: the name split at its plus signs."""
    engine: str
    """The builder: ``alma``, ``native`` (almaflow) or ``registered`` (another package)."""
    device: str
    """The device that it supports: ``cpu``, ``cuda``, ``xla``, or ``any`` for the requested one."""
    dtype: str
    """Arithmetic type; for a quantised model the narrowest type that its weights pass through."""
    summary: str
    """Description in one line."""
    traits: RuntimeTraits
    """Traits of its runtime."""
    input_dtype: str = "float32"
    """Type that floating inputs are cast to before the timed call."""
    quantised: bool = False
    needs: tuple[str, ...] = ()
    """Packages by their pip names, PyTorch first, with version bounds where there are any."""
    aliases: tuple[str, ...] = ()
    """Other names of the same conversion."""
    in_alma: str | None = None
    """The version of Alma that has it: the published release (``0.3.7``) or only its repository (``HEAD``)."""
    builder: str | None = None
    """``module:function`` that builds the last step, if another package provides it."""
    checks: tuple[Callable[[str], Obstacle | None], ...] = ()
    """Checks of what its steps need besides packages; each takes the device."""
    fixed_sizes: str | None = None
    """Why the converted model takes no other sizes than the example's; None: it can, where the model can."""
