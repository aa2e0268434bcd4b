"""List the repairs of Alma's missing names and directories: the defect, whether it is here, and the remedy.

A repair is applied only if the installed versions need it and the conversion meets the defect; the names of the
applied ones are recorded on the run. They are applied in a worker, whose process ends with its conversion. The defects
were seen with alma-torch 0.3.7, the newest release.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class ImportFix:
    """One defect and its remedy; ``needed`` is called only if ``concerns`` holds for the conversion's steps."""

    name: str
    why: str
    concerns: Callable[[tuple[str, ...]], bool]
    needed: Callable[[], bool]
    apply: Callable[[], None]


def _always(_steps: tuple[str, ...]) -> bool:
    return True


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _attribute(module: str, name: str) -> bool:
    return hasattr(importlib.import_module(module), name)


PT2E = "torch.ao.quantization.quantize_pt2e"
XNNPACK = "torch.ao.quantization.quantizer.xnnpack_quantizer"


def _alias_pt2e() -> None:
    sys.modules[PT2E] = importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")


OF_ALMA = ("XNNPACKQuantizer", "get_symmetric_quantization_config")
"""What Alma imports of that module, when it is imported itself."""
XNNPACK_HOMES = ("executorch.backends.xnnpack.quantizer.xnnpack_quantizer", "torchao.testing.pt2e._xnnpack_quantizer")


def xnnpack_quantizer() -> types.ModuleType:
    """Import the module that has XNNPACKQuantizer in the installed versions.

    Raises:
        ImportError: there is none.
    """
    for name in (XNNPACK, *XNNPACK_HOMES):
        if not isinstance(sys.modules.get(name), _LaterModule) and _importable(name):
            return importlib.import_module(name)
    msg = "no XNNPACKQuantizer: PyTorch moved it to torchao and executorch; pip install torchao"
    raise ImportError(msg)


class _LaterModule(types.ModuleType):
    """A module that gives what Alma imports from it before the real module is there, and all else of the real one.

    Alma imports what all of its conversions need, and the real module brings much of ExecuTorch with it.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in OF_ALMA and not any(home in sys.modules for home in XNNPACK_HOMES):
            return _Later(name)
        try:
            return getattr(xnnpack_quantizer(), name)
        except ImportError as error:  # whoever looks for a name in all modules expects no other error
            raise AttributeError(name) from error


class _Later:
    """Stands for a name of the real module: it is called, asked, compared with and inherited from as the real thing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _real(self) -> Any:
        return getattr(xnnpack_quantizer(), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._real())

    def __mro_entries__(self, _bases: tuple[object, ...]) -> tuple[type]:
        return (self._real(),)


def _alias_xnnpack() -> None:
    package = "torch.ao.quantization.quantizer"
    if not _importable(package):
        # PyTorch removed the package too; an empty one lets the import of the submodule find the alias.
        sys.modules[package] = types.ModuleType(package)
    if not any(importlib.util.find_spec(name.partition(".")[0]) for name in XNNPACK_HOMES):
        xnnpack_quantizer()  # which says what is missing
    sys.modules[XNNPACK] = _LaterModule(XNNPACK)


def _restore_export_for_training() -> None:
    import torch

    torch.export.export_for_training = torch.export.export  # type: ignore[attr-defined]


def _restore_dynamo_export() -> None:
    import torch

    def dynamo_export(model: Any, *args: Any) -> Any:
        return torch.onnx.export(model, args, dynamo=True)

    torch.onnx.dynamo_export = dynamo_export  # type: ignore[attr-defined]


def _make_model_directory() -> None:
    Path("model").mkdir()


def _name_device() -> None:
    module = importlib.import_module("alma.conversions.options.quant_edge_convert")
    module.device = None  # type: ignore[attr-defined]


REPAIRS: tuple[ImportFix, ...] = (
    ImportFix(
        "moved-quantize-pt2e",
        "import alma fails: PyTorch 2.11 moved torch.ao.quantization.quantize_pt2e to torchao",
        _always,
        lambda: not _importable(PT2E),
        _alias_pt2e,
    ),
    ImportFix(
        "moved-xnnpack-quantizer",
        "import alma fails: PyTorch 2.11 moved XNNPACKQuantizer to torchao and executorch",
        _always,
        lambda: not _importable(XNNPACK),
        _alias_xnnpack,
    ),
    ImportFix(
        "export-for-training",
        "torch.export.export_for_training is torch.export.export now",
        lambda steps: any(step.startswith("AI8WI8_") for step in steps),
        lambda: not _attribute("torch.export", "export_for_training"),
        _restore_export_for_training,
    ),
    ImportFix(
        "onnx-dynamo-export",
        "torch.onnx.dynamo_export is torch.onnx.export(dynamo=True) now",
        lambda steps: "DYNAMO_EXPORT" in steps,
        lambda: not _attribute("torch.onnx", "dynamo_export"),
        _restore_dynamo_export,
    ),
    ImportFix(
        "onnx-model-directory",
        "Alma saves to the relative path model/model.onnx and fails where model/ is not there",
        lambda steps: "DYNAMO_EXPORT" in steps,
        lambda: not Path("model").is_dir(),
        _make_model_directory,
    ),
    ImportFix(
        "native-convert-device",
        "Alma returns a name that it never defines: name 'device' is not defined",
        lambda steps: "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED" in steps,
        lambda: not _attribute("alma.conversions.options.quant_edge_convert", "device"),
        _name_device,
    ),
)
"""Repairs of a missing name or directory. Changes of what Alma does are in ``patches``."""


def apply_repairs(steps: tuple[str, ...], skip: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Apply the repairs that these steps need here, in order, and return their names."""
    applied = []
    for repair in REPAIRS:
        if repair.name not in skip and repair.concerns(steps) and repair.needed():
            repair.apply()
            applied.append(repair.name)
    return tuple(applied)
