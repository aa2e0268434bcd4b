"""What the documents show really runs, beside the files that their reader has made."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest
from tests.support.forked_commands import fork
from tests.support.markdown_documents import blocks, commands

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.commands import Zygote


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that a reader of the documents has made."""
    place = tmp_path_factory.mktemp("reader")
    for block in blocks("python", "yaml"):
        if block.title:
            file = place / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
    return place


def run(zygote: Zygote, place: Path, home: Path, *arguments: str) -> str:
    environment, stderr = os.environ | {"ALMAFLOW_HOME": str(home), "MLFLOW_TRACKING_URI": ""}, place / "stderr.txt"
    with fork(zygote, arguments, place, environment, stderr) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed + stderr.read_text(encoding="utf-8")
    return printed


def smaller(words: tuple[str, ...]) -> list[str]:
    """A documented run that takes seconds: torchvision's models give way to the small one, and only eager runs.

    Those of a reader's own model are small as they are, and keep their conversions.
    """
    kept = [word for word in words if not word.startswith("tier=")]
    quick = ["measure=quick", "measure.compile_cache=warm"]
    if "model=custom" in kept:
        return kept + quick
    return [re.sub(r"^model=.*", "model=simple", word) for word in kept] + ["conversions=[EAGER]", *quick]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("marker", "conversions"),
    [
        ("model.kwargs.width=32", ["EAGER", "ONNX_CPU"]),
        ("model.data_loader._target_=my_models.batches", ["EAGER"]),
        ("predicted_latency_ms=25", ["EAGER"]),
        ("predictor=per_flop", ["EAGER"]),
    ],
)
def test_documented_runs_really_run(
    marker: str, conversions: list[str], workplace: Path, stored_home: Path, zygote: Zygote
) -> None:
    words = next(command[1:] for command in commands() if marker in command)
    printed = run(zygote, workplace, stored_home, "almaflow", *smaller(words), "output=r.json", "strict=true")
    assert "MLflow store: " in printed
    assert "Best: " in printed
    assert "almaflow ui" in printed
    result = json.loads((workplace / "r.json").read_text(encoding="utf-8"))
    assert [(entry["conversion"], entry["status"]) for entry in result["conversions"]] == [
        (name, "ok") for name in conversions
    ]
    if marker.startswith("predictor"):
        assert result["conversions"][0]["prediction/per_flop/latency_ms"] > 0
    if marker.startswith("predicted"):
        entry = result["conversions"][0]
        error = 100 * (25 - entry["latency_ms"]) / entry["latency_ms"]
        assert entry["prediction_error_pct"] == pytest.approx(error)


@pytest.mark.slow
def test_the_python_examples_run(workplace: Path, stored_home: Path, zygote: Zygote) -> None:
    examples = [block for block in blocks("python") if block.title is None]
    assert examples
    for number, block in enumerate(examples):
        script = workplace / f"example_{number}.py"
        script.write_text(block.text, encoding="utf-8")
        printed = run(zygote, workplace, stored_home, "scripts", script.name)
        assert "ok" in printed
        assert "failed" not in printed
