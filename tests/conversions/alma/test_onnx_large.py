"""ONNX models too large for one file: the weights lie beside it in each path, and nobody reads them twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tests.support.conversion_child import NEWER_TORCH, convert, in_child

pytestmark = [pytest.mark.slow, pytest.mark.alma]

NAMES = ("ONNX_CPU_INT8_STATIC", "COMPILE_ONNXRT", "ONNX_CPU", "ONNX+DYNAMO_EXPORT")


def in_child_large() -> dict[str, Any]:
    """Conversions under a limit that every model exceeds, with the files and the reading of weights that they took."""
    import onnx
    import torch

    found: dict[str, Any] = {}
    load, export = onnx.load, torch.onnx.export
    outside: list[bool] = []
    with_weights: list[str] = []

    def exporting(*args: Any, **settings: Any) -> Any:
        outside.append(settings.get("external_data", True))
        return export(*args, **settings)

    def loading(path: Any, *args: Any, **settings: Any) -> Any:
        if settings.get("load_external_data", True):
            with_weights.append(str(path))
        return load(path, *args, **settings)

    for name in NAMES:
        outside.clear()
        with_weights.clear()
        with (
            patch("almaflow.conversions.built.onnx_sessions.SINGLE_FILE_MB", 0.0),
            patch("torch.onnx.export", exporting),
            patch("onnx.load", loading),
        ):
            found[name] = convert(name, "wide" if "INT8" in name else "linear")
        found[name] |= {"outside": all(outside), "exports": len(outside), "read": with_weights.copy()}
    found["files"] = sorted(path.name for path in Path().glob("*.data"))
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_large, tmp_path_factory.mktemp("large"))


@pytest.mark.parametrize("name", NAMES)
def test_weights_lie_beside_the_file(seen: dict[str, Any], name: str) -> None:
    found = seen[name]
    assert found["failure"] is None, found
    assert found["right"], found
    if name == "ONNX+DYNAMO_EXPORT" and not NEWER_TORCH:
        pytest.skip("PyTorch 2.7 exports it by torch.onnx.dynamo_export, which has no such setting")
    assert found["exports"] == 1
    assert found["outside"]


def test_the_quantised_file_has_its_weights_outside_too(seen: dict[str, Any]) -> None:
    assert {"model.onnx.data", "prepared.onnx.data", "int8.onnx.data"} <= set(seen["files"])


@pytest.mark.parametrize("name", ["ONNX_CPU", "COMPILE_ONNXRT"])
def test_the_file_is_checked_without_reading_its_weights(seen: dict[str, Any], name: str) -> None:
    assert seen[name]["read"] == []
