"""Quantisers are calibrated on the calibration loader's inputs where there are some, and say on how many."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.conversion_child import in_child

if TYPE_CHECKING:
    from pathlib import Path

CALIBRATED = {
    "ONNX_CPU_INT8_STATIC": 2,
    "OPENVINO_INT8": 2,
    "OPTIMUM_QUANTO_AI8WI8": 2,
    "NATIVE_FAKE_QUANTIZED_AI8WI8_STATIC": 2,
    "EXPORT+AI8WI8_FLOAT_QUANTIZED": 1,  # Alma shows the quantiser one batch
}
"""Batches of two that each is calibrated on without a calibration loader."""


def _error(name: str, scale: float | None) -> tuple[float, int | None]:
    """Return the relative error of a conversion that is calibrated on three batches of this scale, and on how many."""
    import torch

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.conversions.catalogue.plan import plan
    from almaflow.models.outputs import flatten_outputs

    chosen = plan([name], 1, "cpu", allow_device_override=True)[0]
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16)).eval()
    batches: list[Any] = [(torch.randn(4, 32),) for _ in range(2)]
    calibration: list[Any] = [] if scale is None else [(scale * torch.randn(4, 32),) for _ in range(3)]
    (x,) = batches[0]
    with torch.no_grad():
        wanted = model(x)
        built = build(chosen, model, BuildInputs(batches, 1, calibration=calibration)).built
        (found,) = flatten_outputs(built.forward(x))
        return float((found - wanted).norm() / wanted.norm()), built.calibration_batches


def in_child_calibration() -> dict[str, Any]:
    names = [name for name in CALIBRATED if name != "OPENVINO_INT8" or find_spec("nncf")]
    return {name: [_error(name, scale) for scale in (None, 0.05)] for name in names}


@pytest.mark.slow
@pytest.mark.alma
def test_what_a_quantiser_is_calibrated_on_decides_how_right_it_is(tmp_path: Path) -> None:
    found = in_child(in_child_calibration, tmp_path)
    assert len(found) >= len(CALIBRATED) - 1
    for name, ((error, before), (narrow, own)) in found.items():
        assert (before, own) == (CALIBRATED[name], 3), name
        assert error < 0.1, name
        if name != "EXPORT+AI8WI8_FLOAT_QUANTIZED":  # which sees the wider example too
            assert narrow > 2 * error, name  # values beyond what it saw are cut off
