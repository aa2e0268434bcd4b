"""Witnesses see where a claim does not hold; ``tests/conversions/test_claims.py`` has those where it does."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from tests.support.conversion_child import convert, in_child
from torch import nn

pytestmark = pytest.mark.slow


def _built(name: str, model: nn.Module, inputs: tuple[torch.Tensor, ...], decides: tuple[str, ...] = ()) -> Any:
    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.conversions.catalogue.plan import plan
    from almaflow.records import ModelTraits

    planned = plan([name], 1, "cpu", allow_device_override=True)[0]
    work = BuildInputs([inputs], 1, traits=ModelTraits(decides_by_values=decides))
    with torch.no_grad():
        return build(planned, model.eval(), work)


def _not_frozen() -> dict[str, Any]:
    """Inductor with the watch and without freezing, and whether weights that are zeroed afterwards are seen."""
    from almaflow.conversions.built.freezing import FreezingWatch

    torch._dynamo.reset()
    model, x, watch = nn.Sequential(nn.Linear(8, 6), nn.ReLU()).eval(), torch.randn(2, 8), FreezingWatch()
    with torch.no_grad(), torch._inductor.config.patch(freezing=False):
        compiled = torch.compile(model, backend=watch)
        before = compiled(x)
        for weight in model.parameters():
            weight.zero_()
        return {"same": torch.equal(before, compiled(x)), "fell_back": watch.evidence().fell_back}


class Spectrum(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        magnitudes: torch.Tensor = torch.fft.rfft(x).abs()
        return magnitudes


def _spectrum(decides: tuple[str, ...]) -> dict[str, Any]:
    x = torch.randn(2, 16)
    try:
        converted = _built("OPENVINO", Spectrum(), (x,), decides)
    except Exception as error:  # noqa: BLE001 - the failure is the result
        return {"failure": str(error)}
    (answer,) = converted.call((x,))
    return {
        "notes": list(converted.built.notes),
        "gap": (answer - Spectrum()(x)).abs().max().item(),
        "fell_back": converted.evidence().fell_back,
    }


def _float_form(name: str, model: nn.Module) -> dict[str, Any]:
    inputs = (torch.randn(2, 3, 12, 12),)
    with torch.no_grad():
        wanted = model.eval()(*inputs)
        built = _built(name, model, inputs).built
        narrow, floating = _tensor(built.forward(*inputs)).clone(), _tensor(built.float_form(*inputs)).clone()
    built.float_form.close()
    return {
        "narrow": (narrow - wanted).abs().max().item(),
        "float": (floating - wanted).abs().max().item(),
        "closed": built.float_form._call is None,
    }


def _tensor(output: Any) -> torch.Tensor:
    first = output[0] if isinstance(output, list | tuple) else output
    return first if isinstance(first, torch.Tensor) else torch.from_numpy(first)


def in_child_witnesses() -> dict[str, Any]:
    from importlib.util import find_spec
    from unittest.mock import patch

    import openvino

    def images() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))

    float_forms = ["ONNX_CPU_INT8_STATIC", "EXPORT+AI8WI8_FLOAT_QUANTIZED"]
    float_forms += ["OPENVINO_INT8"] if find_spec("nncf") else []
    found = {
        "float forms": {name: _float_form(name, images()) for name in float_forms},
        "nothing to freeze": convert("COMPILE_INDUCTOR_FREEZING", "no weights"),
        "not frozen": _not_frozen(),
        "spectrum": _spectrum(()),
        "spectrum that decides": _spectrum(("model.py:1",)),
        "no images": convert("CHANNELS_LAST+EAGER", "linear"),
    }
    with patch.object(openvino.Model, "reshape", lambda *_: None):
        found["dynamic"] = convert("OPENVINO", "convolutions")
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_witnesses, tmp_path_factory.mktemp("witnesses"))


def test_weights_that_are_not_frozen_are_noticed(seen: dict[str, Any]) -> None:
    assert not seen["not frozen"]["same"]
    assert seen["not frozen"]["fell_back"].startswith("2 weights were passed to the compiled graph as inputs")
    assert seen["nothing to freeze"]["fell_back"].startswith("no weight was frozen")


def test_openvino_with_dynamic_sizes_is_noticed(seen: dict[str, Any]) -> None:
    assert seen["dynamic"]["runtime"]["openvino_sizes"] == "dynamic"
    assert "dynamic sizes" in seen["dynamic"]["fell_back"]


def test_openvino_traces_what_its_export_lacks_unless_the_model_decides_by_values(seen: dict[str, Any]) -> None:
    assert seen["spectrum"]["gap"] < 1e-4
    assert seen["spectrum"]["fell_back"] is None
    assert re.search(r"by tracing.*aten\._fft_r2c", seen["spectrum"]["notes"][0])
    assert "aten._fft_r2c" in seen["spectrum that decides"]["failure"]


def test_channels_last_without_images_is_noticed(seen: dict[str, Any]) -> None:
    assert seen["no images"]["fell_back"].startswith("nothing is in channels-last order")


def test_a_quantised_route_has_its_float_form(seen: dict[str, Any]) -> None:
    for name, gaps in seen["float forms"].items():
        assert gaps["float"] < 1e-4 < gaps["narrow"], (name, gaps)
        assert gaps["closed"]
