"""The scripts and the notebook of ``examples/`` run as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = {
    "linear.py": "Best: ",
    "own_data.py": "fidelity/sqnr_db",
    "own_predictor.py": "off by ",
    "training.py": "of the points are right",
}
ALL = """
import os, runpy, sys
for name in sys.argv[1:]:
    runpy.run_path(name, run_name="__main__")
"""
"""One process for all of them: PyTorch takes seconds to import."""


def notebook() -> str:
    """The code of the notebook's cells; what the last line of a cell gives is printed."""
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code")


def test_every_example_is_run() -> None:
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(SCRIPTS)
    assert [file.name for file in EXAMPLES.glob("*.ipynb")] == ["notebook.ipynb"]


def test_the_notebook_is_kept_without_outputs() -> None:
    kept = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    assert kept["nbformat"] == 4
    assert [cell for cell in kept["cells"] if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path, home: Path) -> None:
    cells = tmp_path / "notebook.py"
    cells.write_text(notebook() + "\nprint(list(measured.conversion))\n", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(EXAMPLES), *filter(None, sys.path)])}
    paths = [*(str(EXAMPLES / name) for name in SCRIPTS), str(cells)]
    done = subprocess.run(
        [sys.executable, "-c", ALL, *paths], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in SCRIPTS.values():
        assert expected in done.stdout
    assert done.stdout.count("Best: ") == len(SCRIPTS) + 1
    assert "failed" not in done.stdout
    assert "'JIT_TRACE'" in done.stdout.splitlines()[-1]
    assert (home / "mlflow.db").exists()
