"""List every conversion, and those of each tier on each device."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue.alma import ALMA
from almaflow.conversions.catalogue.native import NATIVE
from almaflow.conversions.catalogue.plugins import registered
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from almaflow.conversions.catalogue.entry import Conversion

TIERS = (1, 2, 3)
DEVICES = ("cpu", "cuda")

_QUICK = ("EAGER", "COMPILE_INDUCTOR_DEFAULT")
_CORE: dict[str, tuple[str, ...]] = {
    "cpu": (*_QUICK, "ONNX_CPU", "COMPILE_OPENVINO", "ONNX_CPU_INT8_STATIC"),
    "cuda": (
        *_QUICK,
        "COMPILE_INDUCTOR_MAX_AUTOTUNE",
        "FP16+COMPILE_CUDAGRAPHS",
        "ONNX_GPU",
        "TENSORRT",
        "TORCHAO_QUANT_INT8+COMPILE_INDUCTOR",
    ),
}
"""Deployment paths of each device, in the order in which they are run."""


@cache
def everything() -> tuple[Conversion, ...]:
    """Return the catalogue: Alma's conversions by number, almaflow's own, then those of installed packages."""
    return (*ALMA, *NATIVE, *registered())


def _tier_names(number: int, device: str) -> tuple[str, ...]:
    if number == 1:
        return _QUICK
    if number == 2:  # noqa: PLR2004 - the tiers are 1, 2 and 3
        return _CORE[device]
    return tuple(conversion.name for conversion in everything())


def tier(number: int, device: str) -> list[Conversion]:
    """Return the conversions of a tier on a device, EAGER first, in a fixed order.

    Tier 3 has all conversions, also those that cannot run on this machine; they are listed with the reason.

    Args:
        number: 1, 2 or 3.
        device: ``cpu`` or ``cuda``.

    Raises:
        UsageError: there is no such tier or device.
    """
    if number not in TIERS:
        message = f"tier={number}: take 1 (quick), 2 (core) or 3 (everything)"
        raise UsageError(message)
    if device not in DEVICES:
        message = f"device {device}: take cpu or cuda"
        raise UsageError(message)
    by_name = {conversion.name: conversion for conversion in everything()}
    return [by_name[name] for name in _tier_names(number, device)]


def tiers_on(conversion: Conversion, device: str) -> tuple[int, ...]:
    """Return the tiers that include a conversion on a device."""
    return tuple(number for number in TIERS if conversion.name in _tier_names(number, device))
