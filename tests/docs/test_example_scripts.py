"""The scripts and the notebook of ``examples/`` run as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.forked_commands import fork

if TYPE_CHECKING:
    from tests.faults.commands import Zygote

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = {
    "linear.py": "Best: ",
    "own_data.py": "fidelity/sqnr_db",
    "own_predictor.py": "off by ",
    "training.py": "of the points are right",
}


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
def test_the_examples_run(tmp_path: Path, home: Path, zygote: Zygote) -> None:
    """In one process for all of them: PyTorch takes seconds to import."""
    cells = tmp_path / "notebook.py"
    cells.write_text(notebook() + "\nprint(list(measured.conversion))\n", encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES)}
    paths = [*(str(EXAMPLES / name) for name in SCRIPTS), str(cells)]
    with fork(zygote, ("scripts", *paths), tmp_path, environment, tmp_path / "stderr.txt") as process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed + (tmp_path / "stderr.txt").read_text(encoding="utf-8")
    for expected in SCRIPTS.values():
        assert expected in printed
    assert printed.count("Best: ") == len(SCRIPTS) + 1
    assert "failed" not in printed
    assert "'JIT_TRACE'" in printed.splitlines()[-1]
    assert (home / "mlflow.db").exists()
