"""The conversions whose operators are timed one by one, and the versions that their times depend on."""

from __future__ import annotations

from importlib import metadata

RUNTIMES: dict[str, tuple[str, ...]] = {
    "ONNX_CPU": ("onnxruntime", "onnxruntime-gpu"),
    "OPENVINO": ("openvino",),
    "EAGER": ("torch",),
}
"""Distributions of the runtime by conversion; the first that is installed counts."""


def runtime_versions(conversion: str) -> dict[str, str]:
    """Return the version of the runtime of a conversion, by its distribution; nothing where none is installed."""
    for name in RUNTIMES.get(conversion, ()):
        try:
            return {name: metadata.version(name)}
        except metadata.PackageNotFoundError:
            continue
    return {}
