"""Reads the backends of a session: ``MACHINE/CONVERSION``, also as octoml-profile spelled them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.config.files import meant, names
from almaflow.config.overrides import override
from almaflow.conversions.catalogue.names import resolve
from almaflow.conversions.catalogue.tiers import tier
from almaflow.errors import UsageError
from almaflow.records.profile import LOCAL, Backend

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT = (f"{LOCAL}/tier1",)
_OCTOML = {
    "torch-eager-cpu": "EAGER",
    "torch-eager-cuda": "EAGER",
    "torch-inductor-cpu": "COMPILE_INDUCTOR_DEFAULT",
    "torch-inductor-cuda": "COMPILE_INDUCTOR_DEFAULT",
    "onnxrt-cpu": "ONNX_CPU",
    "onnxrt-cuda": "ONNX_GPU",
    "onnxrt-tensorrt": "TENSORRT",
}
_HALF = {"EAGER": "FP16+EAGER", "ONNX_GPU": "FP16+ONNX_GPU", "TENSORRT": "FP16+TENSORRT"}


def resolve_backends(requested: Sequence[str], *, fleet: bool = False) -> tuple[tuple[Backend, ...], tuple[str, ...]]:
    """Return the backends in order, each once, and a line for each name that became another.

    Args:
        requested: As users write them.
        fleet: Whether there is a fleet, whose machines may be named too.

    Raises:
        UsageError: a machine or a conversion is unknown, or the machine is not this one and there is no fleet.
    """
    found: dict[str, Backend] = {}
    notes = []
    for text in requested or DEFAULT:
        place, slash, conversion = str(text).strip().partition("/")
        if not slash or not conversion:
            message = f"backend {text!r}: write MACHINE/CONVERSION, as {LOCAL}/{text or 'ONNX_CPU'} or {LOCAL}/tier2"
            raise UsageError(message)
        what = _translated(conversion)
        where = _machine(place, what, str(text), fleet=fleet)
        if what != conversion:
            notes.append(f"{text} became {where}/{what}")
        for name in _conversions(what, where):
            backend = Backend(where, name, str(text))
            found.setdefault(backend.name, backend)
    return tuple(found.values()), tuple(notes)


def _machine(place: str, conversion: str, text: str, *, fleet: bool) -> str:
    if place.lower() == LOCAL:
        return LOCAL
    known = meant("hardware", place)
    if known in names("hardware"):
        if fleet:
            return known
        became = f"{known}/{conversion}"
        named = text if text == became else f"{text} ({became})"
        message = (
            f"backend {named}: only {LOCAL} is measured without a fleet; give fleet=ray fleet.address=HOST:PORT, or "
            f"record on that machine, as {LOCAL}/{conversion}"
        )
    else:
        message = f"backend {text}: no machine {place!r} is known; write {LOCAL} for this one"
    raise UsageError(message)


def _translated(conversion: str) -> str:
    """Return a conversion's name for one of octoml-profile's, such as ``onnxrt-cuda[fp16]``; else the name itself."""
    match = re.fullmatch(r"(?P<name>[\w.+-]+)(?P<half>\[fp16\])?", conversion.strip(), re.IGNORECASE)
    name = _OCTOML.get(match["name"].lower()) if match else None
    if match is None or name is None:
        return conversion
    if not match["half"]:
        return name
    if name not in _HALF:
        message = f"backend {conversion}: no conversion runs {name} in FP16; take {name}, or FP16+EAGER"
        raise UsageError(message)
    return _HALF[name]


def _conversions(what: str, where: str) -> list[str]:
    numbered = re.fullmatch(r"tier(\d+)", what.strip().lower())
    if numbered:
        return [each.name for each in tier(int(numbered[1]), _device(where))]
    return [entry.name for _, entry in resolve([what], "backends")]


def _device(where: str) -> str:
    """Return the device that a machine measures on."""
    if where == LOCAL:
        return "cuda" if machine.has_cuda() else "cpu"
    from almaflow.config.composition import compose

    return "cuda" if str(compose([override("hardware", where)]).hardware.device) == "cuda" else "cpu"
