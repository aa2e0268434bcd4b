"""Made packages called graphs, asked through the real child process. Those that reach the analysis import torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import planned

from almaflow.errors import AlmaflowError, UsageError
from almaflow.predict.graphs.messages import Answer, Fault
from almaflow.predict.graphs.predictor import Graphs
from almaflow.processes.one_shot import answer_of
from almaflow.records import HardwareSpec, InputSpec, ModelSpec, PredictionRequest, to_dict

if TYPE_CHECKING:
    from pathlib import Path

SIMPLE = ModelSpec("simple", target="almaflow.models.simple.SimpleCNN", inputs=(InputSpec((3, 32, 32)),))
I7 = HardwareSpec("i7_12700k", "cpu", 12)
H100 = HardwareSpec("h100", "cuda", 8)

PROJECT = '[project]\nname = "graphs"\nversion = "0.2.0"\n'

PRECISION = 'import enum\nPrecision = enum.Enum("Precision", {"FP32": "fp32", "FP16": "fp16", "INT8": "int8"})\n'

ANALYZER = """
import os, pathlib, types
KNOWN = ("h100", "h100-pcie", "i7-12700k", "xeon")

class UnifiedAnalyzer:
    def __init__(self, verbose=True):
        os.write(1, b"a library in C speaks")

    def _create_hardware_mapper(self, hardware_name):
        if hardware_name.lower() not in KNOWN:
            raise ValueError(f"Unknown hardware: {hardware_name}. Available: {', '.join(KNOWN)}")
        profiles = {Precision.FP32: 1e12, Precision.FP16: 2e12}
        return types.SimpleNamespace(resource_model=types.SimpleNamespace(precision_profiles=profiles))

    def analyze_model_with_custom_hardware(self, model, input_tensor, model_name, hardware_mapper, precision, **more):
        with pathlib.Path(__file__).with_name("calls").open("a") as calls:
            print(type(model).__name__, tuple(input_tensor.shape), precision.name, *more, file=calls)
        print("speaks at length\\n" * 10_000)
        return analysed()
"""

CONFIG = """
class AnalysisConfig:
    run_roofline = run_memory = run_operator_edp = True
"""

NEWER = "analysed = lambda: types.SimpleNamespace(total_latency_ms=1.5, energy_per_inference_mj=30.0)\n"
OLDER = "analysed = lambda: types.SimpleNamespace(latency_ms=2.5, energy_per_inference_j=0.02)\n"
TOTAL = "analysed = lambda: types.SimpleNamespace(latency_ms=1.5, total_energy_mj=90, energy_per_inference_mj=7)\n"
EMPTY = "analysed = lambda: types.SimpleNamespace(total_latency_ms=0.0, total_energy_mj=0.0)\n"
BROKEN = "def analysed():\n    raise RuntimeError('cannot trace\\nthat')\n"


def made(
    place: Path, monkeypatch: pytest.MonkeyPatch, source: str, module: str = "estimation/unified_analyzer.py"
) -> Path:
    """A source tree of graphs on the child's path, without ``graphs/__init__.py`` as the real one; its module."""
    file = place / "src" / "graphs" / module
    file.parent.mkdir(parents=True)
    file.with_name("__init__.py").touch()
    file.write_text(source, encoding="utf-8")
    (place / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(place / "src"), prepend=os.pathsep)
    return file


def asked(
    hardware: HardwareSpec = I7, dtype: str = "float32", name: str = "EAGER", batch_size: int = 4
) -> PredictionRequest:
    return PredictionRequest(SIMPLE, hardware, planned(name, hardware.device, dtype), batch_size)


def refused(*_: object) -> None:
    pytest.fail("a child was started")


@pytest.mark.slow
def test_one_analysis_serves_all_conversions_and_what_graphs_prints_is_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module = made(tmp_path, monkeypatch, PRECISION + ANALYZER + CONFIG + NEWER)
    predictor = Graphs(hardware="I7-12700K")
    for name in ("EAGER", "COMPILE_INDUCTOR_DEFAULT", "ONNX_CPU", "OPENVINO", "EXPORT+EAGER"):
        found = predictor.predict(asked(name=name))
        assert found is not None
        assert (found.latency_ms, found.predictor, found.version) == (1.5, "graphs", "graphs 0.2.0")
        assert found.energy_j == pytest.approx(4 * 0.03), "four samples a batch"
    assert module.with_name("calls").read_text(encoding="utf-8") == "SimpleCNN (4, 3, 32, 32) FP32 config\n"
    assert capfd.readouterr() == ("", "")
    assert predictor.version == "graphs 0.2.0"


@pytest.mark.slow
def test_the_older_place_and_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imports = "from graphs.hardware.resource_model import Precision\n"
    module = made(tmp_path, monkeypatch, imports + ANALYZER + OLDER, "analysis/core.py")
    module.with_name("__init__.py").write_text("from graphs.analysis.core import UnifiedAnalyzer\n", encoding="utf-8")
    resource_model = module.parents[1] / "hardware" / "resource_model.py"
    resource_model.parent.mkdir()
    resource_model.write_text(PRECISION, encoding="utf-8")
    found = Graphs().predict(asked(dtype="float16"))
    assert found is not None
    assert (found.latency_ms, found.version) == (2.5, "graphs 0.2.0")
    assert found.energy_j == pytest.approx(4 * 0.02)
    assert module.with_name("calls").read_text(encoding="utf-8") == "SimpleCNN (4, 3, 32, 32) FP16\n"


@pytest.mark.slow
def test_a_total_is_of_the_batch_and_further_hardware_is_found_by_what_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = made(tmp_path, monkeypatch, PRECISION + ANALYZER + TOTAL)
    mappers = module.parents[1] / "hardware" / "mappers" / "gpu.py"
    mappers.parent.mkdir(parents=True)
    mappers.write_text("def create_t4_pcie_16gb_mapper(thermal_profile=None):\n    return object()\n", encoding="utf-8")
    found = Graphs().predict(asked(HardwareSpec("g4dn_xlarge", "cuda", 4), dtype="int8"))
    assert found is not None
    assert found.latency_ms == 1.5
    assert found.energy_j == pytest.approx(0.09)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "why"),
    [(BROKEN, "simple: RuntimeError: cannot trace that"), (EMPTY, "graphs gave no latency")],
    ids=["raises", "zeros"],
)
def test_an_analysis_without_figures_fails_in_one_line_and_is_not_tried_again(
    source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = made(tmp_path, monkeypatch, PRECISION + ANALYZER + source)
    predictor = Graphs()
    for name in ("EAGER", "ONNX_CPU"):
        with pytest.raises(AlmaflowError) as raised:
            predictor.predict(asked(name=name))
        assert str(raised.value) == f"graphs predicts nothing: {why}"
    assert len(module.with_name("calls").read_text(encoding="utf-8").splitlines()) == 1


def test_a_name_that_graphs_does_not_know_is_refused_with_those_near_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, monkeypatch, PRECISION + ANALYZER + BROKEN)
    with pytest.raises(UsageError, match=r"^graphs knows no hardware 'H100-PCI'; nearest: h100-pcie, h100, "):
        Graphs(hardware="H100-PCI").predict(asked())


def test_without_a_name_hardware_that_this_graphs_lacks_has_no_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, monkeypatch, PRECISION + ANALYZER + BROKEN)
    assert Graphs().predict(asked(HardwareSpec("a100", "cuda", 8))) is None


def test_a_precision_that_the_hardware_lacks_has_no_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, monkeypatch, PRECISION + ANALYZER + BROKEN)
    assert Graphs().predict(asked(dtype="int8")) is None, "it is in Precision, but not among the profiles"


@pytest.mark.parametrize("inside", [None, "graph.py", "estimation/shapes.py"])
def test_what_is_not_this_graphs_is_as_good_as_none(
    inside: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "graphs"
    other.mkdir()
    (other / "__init__.py").touch()
    if inside:
        (other / inside).parent.mkdir(exist_ok=True)
        (other / inside).touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    predictor = Graphs()
    message = r"^graphs is not installed; pip install .*branes-ai/graphs$"
    with pytest.raises(UsageError, match=message):
        predictor.predict(asked())
    with pytest.raises(UsageError, match=message):
        _ = predictor.version


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import a_library_of_theirs", "graphs needs a_library_of_theirs, which is not installed"),
        ("class Analyzer: ...", "graphs cannot be used here (it has no UnifiedAnalyzer); pip install "),
    ],
    ids=["needs", "lacks"],
)
def test_a_graphs_that_does_not_import_is_said_with_what_it_lacks(
    source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, monkeypatch, source)
    predictor = Graphs()
    with pytest.raises(UsageError) as raised:
        predictor.predict(asked())
    assert str(raised.value).startswith(why)
    assert predictor.version == "graphs 0.2.0"


def test_the_version_names_the_commit_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, monkeypatch, "")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    number, commit = Graphs().version.removeprefix("graphs ").split()
    assert number == "0.2.0"
    assert len(commit) >= 7
    assert head.startswith(commit)


def test_the_version_names_the_commit_that_pip_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = made(tmp_path, monkeypatch, "")
    (tmp_path / "pyproject.toml").unlink()
    information = module.parents[2] / "graphs-0.8.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: graphs\nVersion: 0.8.0\n", encoding="utf-8")
    origin = {"url": "somewhere", "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}}
    (information / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")
    assert Graphs().version == "graphs 0.8.0 012345678"


def test_an_analysis_that_takes_too_long_is_ended() -> None:
    with pytest.raises(AlmaflowError, match=r"nothing: its process: no answer within 0\.001 s; raise timeout_s$"):
        Graphs(timeout_s=0.001).predict(asked())


def test_a_child_that_dies_is_said_with_its_last_words_and_not_asked_again() -> None:
    asked_of: list[object] = []

    def ask(question: object, timeout_s: float) -> Any:
        asked_of.append(question)
        return answer_of("almaflow.predict.no_such_child", question, failed="its process", timeout_s=timeout_s)

    predictor = Graphs(ask=ask)
    for _ in range(2):
        with pytest.raises(AlmaflowError, match=r"graphs predicts nothing: its process: .*no_such_child"):
            predictor.predict(asked())
    assert len(asked_of) == 1
    assert predictor.version == "graphs"


@pytest.mark.parametrize(
    "question",
    [
        asked(HardwareSpec("r6g_large", "cpu", 2)),
        asked(dtype="uint3"),
        PredictionRequest(SIMPLE, H100, planned("ONNX_CPU", "cpu"), 4),
    ],
    ids=["hardware", "precision", "elsewhere"],
)
def test_no_child_is_started_for_what_graphs_cannot_know(question: PredictionRequest) -> None:
    assert Graphs(ask=refused).predict(question) is None


def test_each_batch_size_hardware_and_element_type_is_asked_for_once() -> None:
    texts: list[Any] = []

    def answer(question: object, _timeout_s: float) -> Any:
        texts.append(question)
        return to_dict(Answer("1", 2.0))

    predictor = Graphs(ask=answer)
    questions = [asked(), asked(batch_size=8), asked(H100), asked(H100, dtype="float8_e4m3fn")]
    for question in questions * 2:
        assert predictor.predict(question) is not None
    found = [(text["model"]["batch_size"], text["hardware"], text["precisions"][0]) for text in texts]
    assert found == [
        (4, "i7-12700k", "FP32"),
        (8, "i7-12700k", "FP32"),
        (4, "h100", "FP32"),
        (4, "h100", "FP8_E4M3"),
    ]


def test_a_fault_of_the_hardware_is_asked_for_once_and_refused_each_time() -> None:
    answers = iter([to_dict(Answer("1", fault=Fault.HARDWARE, known=()))])
    predictor = Graphs(hardware="abacus", ask=lambda *_: next(answers))
    for _ in range(2):
        with pytest.raises(UsageError, match="nearest: none"):
            predictor.predict(asked())


@pytest.mark.slow
def test_further_inputs_of_a_model_are_held() -> None:
    import torch

    from almaflow.predict.graphs.child import _of_one_input

    class Weighted(torch.nn.Module):
        def forward(self, first: torch.Tensor, second: torch.Tensor, third: torch.Tensor) -> torch.Tensor:
            return first * second - third

    batch = (torch.tensor([2.0]), torch.tensor([3.0]), torch.tensor([1.0]))
    model, first = _of_one_input(Weighted(), batch)
    assert model(first).item() == 5.0
    assert torch.export.export(model, (first,)).module()(torch.tensor([10.0])).item() == 29.0


def test_the_parent_does_not_import_torch() -> None:
    code = "import sys, almaflow.predict.graphs.predictor; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
