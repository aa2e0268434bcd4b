"""``almaflow conversions`` lists all of it, fast, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from click.testing import CliRunner

from almaflow.cli.conversions import conversions
from almaflow.conversions.catalogue.tiers import everything, tier

IN_A_FRESH_PROCESS = """
import sys
from almaflow.cli.conversions import conversions
conversions(["--json"], standalone_mode=False)
heavy = {"torch", "alma", "mlflow", "onnxruntime", "openvino"} & set(sys.modules)
assert not heavy, heavy
"""


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(conversions, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def _json(*arguments: str) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = json.loads(_run("--json", *arguments))
    return fields


def test_it_answers_at_once_and_imports_nothing_heavy() -> None:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", IN_A_FRESH_PROCESS], capture_output=True, text=True, check=False)
    elapsed_s = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == len(everything()) > 94
    # It takes a fifth of that; the rest is for a machine that is busy with other tests.
    assert elapsed_s < 3.0


def test_json_has_every_field_of_every_entry() -> None:
    listed = _json("--device", "cpu")
    assert [entry["name"] for entry in listed] == [entry.name for entry in everything()]
    assert {
        *("name", "number", "aliases", "family", "steps", "engine", "device", "dtype", "input_dtype", "tiers", "needs"),
        *("available", "reason", "install", "summary", "quantised", "in_alma", "builder", "device_override", "runs_on"),
    } <= set(listed[0])
    assert all(entry["available"] == (entry["reason"] is None) for entry in listed)
    eager = listed[0]
    assert (eager["name"], eager["number"], eager["tiers"], eager["available"]) == ("EAGER", 0, [1, 2, 3], True)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_one_tier_of_one_device(device: str) -> None:
    listed = _json("--tier", "2", "--device", device)
    assert [entry["name"] for entry in listed] == [entry.name for entry in tier(2, device)]
    assert all(2 in entry["tiers"] for entry in listed)


def test_the_table_fits_100_columns_and_has_every_name_whole() -> None:
    table, _, notes = _run("--device", "cpu").partition("\n\n")
    header, *rows = table.splitlines()
    assert max(map(len, rows)) <= 100
    assert "…" not in table
    start, end = header.index("conversion"), header.index("family")
    # A name that is too long goes on behind its plus sign in the next row.
    cells = "\n".join(row[start:end].strip() for row in rows).replace("+\n", "+").split("\n")
    assert [cell for cell in cells if " " not in cell] == [entry.name for entry in everything()]
    assert {cell for cell in cells if cell.startswith("also ")} == {
        f"also {alias}" for entry in everything() for alias in entry.aliases
    }
    assert "needs an NVIDIA GPU, and there is none here" in notes


def test_a_tier_that_is_not_there_is_wrong_input() -> None:
    result = CliRunner().invoke(conversions, ["--tier", "4"])
    assert result.exit_code == 2
    assert "1<=x<=3" in result.output
