"""Decide whether a conversion can run on this machine, on which device, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.conversions.catalogue import requirements
from almaflow.conversions.catalogue.requirements import Obstacle
from almaflow.records import FailureKind

if TYPE_CHECKING:
    from almaflow.conversions.catalogue.entry import Conversion

_ALMA_IMPORTS = ("onnx", "onnxruntime", "optimum-quanto", "torchao")
"""Packages that Alma imports for every conversion (torchao holds what newer PyTorch has moved out)."""


@dataclass(frozen=True)
class Availability:
    """Whether a conversion can run here."""

    available: bool
    device: str
    """The device on which it would run: ``cpu``, ``cuda`` or ``xla``."""
    device_override: bool = False
    """Whether that is not the requested device."""
    reason: str | None = None
    kind: FailureKind | None = None
    install: str | None = None
    """The command that would make it available, if there is one."""


def check(conversion: Conversion, device: str, *, allow_device_override: bool) -> Availability:
    """Check a conversion on this machine without importing anything that it needs.

    Args:
        conversion: An entry of the catalogue.
        device: The requested device, ``cpu`` or ``cuda``.
        allow_device_override: Whether a conversion that supports only another device may run there.
    """
    target = device if conversion.device == "any" else conversion.device
    # XLA is a way to the requested device, not another one.
    override = target not in {device, "xla"}
    obstacle = _device(target, device, allow_device_override=allow_device_override) or _needs(conversion, target)
    if obstacle is None:
        return Availability(available=True, device=target, device_override=override)
    return Availability(
        available=False,
        device=target,
        device_override=override,
        reason=obstacle.reason,
        kind=obstacle.kind,
        install=obstacle.install,
    )


def _device(target: str, requested: str, *, allow_device_override: bool) -> Obstacle | None:
    from almaflow.machine import has_cuda

    if target == "cuda":
        if not has_cuda():
            return Obstacle("needs an NVIDIA GPU, and there is none here", FailureKind.UNSUPPORTED)
        if obstacle := requirements.cuda_build():
            return obstacle
    if target not in {requested, "xla"} and not allow_device_override:
        reason = f"runs on {target} only, {requested} was asked for, and allow_device_override=false"
        return Obstacle(reason, FailureKind.UNSUPPORTED)
    return None


def _needs(conversion: Conversion, target: str) -> Obstacle | None:
    torch, *others = conversion.needs
    if obstacle := requirements.package(torch):
        return obstacle
    # Checked before the packages: installing one for a backend that this PyTorch lacks would not help.
    for check_device in conversion.checks:
        if obstacle := check_device(target):
            return obstacle
    of_alma = _ALMA_IMPORTS if conversion.engine == "alma" else ()
    return next(filter(None, map(requirements.package, dict.fromkeys((*others, *of_alma)))), None)
