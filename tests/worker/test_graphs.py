"""The graphs of a conversion as people read them: with shapes, and with the places where dynamo broke off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.conversion_child import in_child

pytestmark = [pytest.mark.slow, pytest.mark.alma]


def in_child_graphs() -> dict[str, Any]:
    import torch

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.conversions.catalogue.plan import plan
    from almaflow.conversions.converted import ConvertedModel
    from almaflow.records.export import GRAPHS
    from almaflow.records.plan import RuntimeTraits
    from almaflow.worker.graphs import write_graphs

    torch.manual_seed(0)
    x = torch.randn(2, 5)
    found: dict[str, Any] = {}

    def text_of(converted: ConvertedModel) -> str | None:
        directory = Path(f"graphs-{len(found)}")
        directory.mkdir()
        with torch.no_grad():
            write_graphs(directory, converted, (x,))
        path = directory / GRAPHS
        return path.read_text(encoding="utf-8") if path.exists() else None

    for name in ("EAGER", "EXPORT+EAGER", "JIT_TRACE", "ONNX_CPU"):
        planned = plan([name], 1, "cpu", allow_device_override=True)[0]
        with torch.no_grad():
            converted = build(planned, torch.nn.Linear(5, 3).eval(), BuildInputs([(x,)] * 4, 1))
            converted.call((x,))
        found[name] = text_of(converted)

    class Breaks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.line(x)
            torch._dynamo.graph_break()
            return torch.relu(y)

    from dataclasses import replace

    def with_dynamo(model: torch.nn.Module) -> ConvertedModel:
        built = replace(converted.built, model=model, files=(), program=None, executable=None)
        return ConvertedModel(built, RuntimeTraits(dynamo=True))

    found["broken"] = text_of(with_dynamo(Breaks().eval()))

    class Unprintable(torch.nn.Module):
        def forward(self, _x: torch.Tensor) -> torch.Tensor:
            message = "cannot be traced"
            raise RuntimeError(message)

    found["raises"] = text_of(with_dynamo(Unprintable()))
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    return in_child(in_child_graphs, tmp_path_factory.mktemp("graphs"))


def test_an_exported_graph_has_the_shapes_of_its_tensors(found: dict[str, str]) -> None:
    assert found["EXPORT+EAGER"].startswith(("# what torch.export made\n", "# what runs\n"))
    assert '"f32[2, 5]"' in found["EXPORT+EAGER"]
    assert "aten.linear" in found["EXPORT+EAGER"]
    assert found["JIT_TRACE"].startswith("# what TorchScript runs\n")
    assert "aten::linear" in found["JIT_TRACE"]
    assert "# the ONNX file, without weights\n" in found["ONNX_CPU"]
    assert "float[2,5]" in found["ONNX_CPU"]
    assert "Gemm" in found["ONNX_CPU"]


def test_graph_breaks_have_their_reason_and_place(found: dict[str, str]) -> None:
    text = found["broken"]
    assert "# graph 1 of 2 that dynamo made\n" in text
    assert '"f32[2, 3]"' in text
    assert "# graph break 1: " in text
    assert "test_graphs.py:" in text
    assert " in forward" in text


def test_without_a_graph_there_is_no_file_and_what_cannot_be_shown_is_told(found: dict[str, str | None]) -> None:
    assert found["EAGER"] is None
    raised = found["raises"]
    assert raised is not None
    assert raised.startswith("# the graph cannot be shown\n")
    assert "cannot be traced" in raised
