"""Conversions as a job plans them."""

from __future__ import annotations

from dataclasses import dataclass

from almaflow.records.status import FailureKind


@dataclass(frozen=True)
class PlannedConversion:
    """A conversion of the catalogue, resolved for one machine and one device."""

    name: str
    requested: str
    """The name, alias or number that the user gave."""
    family: str
    steps: tuple[str, ...]
    engine: str
    """Who builds it: ``alma``, ``native`` or ``registered``."""
    device: str
    """Where it will run, which an override may have moved from the hardware's device."""
    dtype: str
    """Arithmetic type of the converted model: float32, float16, bfloat16, int8, int4, float8 ..."""
    input_dtype: str = "float32"
    """What floating inputs are cast to before the timed call."""
    device_override: bool = False
    unavailable: str | None = None
    """Why it cannot run here."""
    unavailable_kind: FailureKind | None = None
    install: str | None = None
    builder: str | None = None
    """``module:function`` of one that another package has registered."""


EAGER = "EAGER"


INDUCTOR = "COMPILE_INDUCTOR_DEFAULT"
