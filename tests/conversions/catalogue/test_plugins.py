"""Conversions that an installed package brings: listed, measured as others are, and never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.conversions.catalogue.plugins import ConversionPlugin

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import torch
from almaflow.conversions.registered import OwnConversion

TWICE = OwnConversion("TWICE", "own_package:twice", "calls the model twice", dtype="float32")
HALF = [OwnConversion("FP16+TWICE", "own_package:twice", "in float16, twice", family="mine", device="cpu")]
SAME = OwnConversion("eager", "own_package:twice", "a name that is taken")
WRONG = OwnConversion("WRONG", "own_package.twice", "no colon")


def twice(model, work):
    from almaflow.conversions.native import Native

    def forward(*inputs):
        model(*inputs)
        return model(*inputs)

    return Native(forward, model=model)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed package, as the metadata on the path tell."""
    (tmp_path / "own_package.py").write_text(MODULE, encoding="utf-8")
    metadata = tmp_path / "own_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n", encoding="utf-8")
    return metadata / "entry_points.txt"


def register(entry_points: Path, *lines: str) -> None:
    entry_points.write_text("\n".join(["[almaflow.conversions]", *lines]), encoding="utf-8")


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(package.parents[1]),
        "ALMAFLOW_HOME": str(package.parents[1] / "home"),
    }
    return subprocess.run(
        [sys.executable, "-m", "almaflow", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def listed(package: Path) -> tuple[dict[str, dict[str, Any]], str]:
    done = run(package, "conversions", "--json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)}, done.stderr


def test_they_are_listed_with_what_their_steps_say(package: Path) -> None:
    register(package, "one = own_package:TWICE", "more = own_package:HALF")
    found, _ = listed(package)
    one, half = found["TWICE"], found["FP16+TWICE"]
    assert (one["engine"], one["family"], one["summary"], one["tiers"]) == (
        "registered",
        "own",
        "calls the model twice",
        [3],
    )
    assert (half["family"], half["dtype"], half["input_dtype"], half["device"]) == ("mine", "float16", "float16", "cpu")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("same = own_package:SAME", "there is a conversion eager already"),
        ("wrong = own_package:WRONG", "is not like my_package.my_module:my_function"),
        ("gone = own_package_two:X", "No module named 'own_package_two'"),
    ],
)
def test_what_cannot_be_taken_is_left_out_with_a_warning(package: Path, line: str, why: str) -> None:
    register(package, line, "one = own_package:TWICE")
    found, warned = listed(package)
    assert "TWICE" in found
    assert "conversions of own-package" in warned
    assert why in warned


def test_a_step_before_the_last_has_to_be_a_known_one() -> None:
    with pytest.raises(ValueError, match="no such step: FP17"):
        ConversionPlugin("FP17+MINE", "a:b", "does").entry()


@pytest.mark.slow
def test_one_is_measured_as_others_are(package: Path) -> None:
    register(package, "one = own_package:TWICE", "more = own_package:HALF")
    output = package.parents[1] / "output.json"
    done = run(
        package,
        *("run", "model=simple", "measure=quick", "conversions=[EAGER,TWICE,FP16+TWICE]", f"output={output}"),
    )
    assert done.returncode == 0, done.stderr
    eager, twice, half = json.loads(output.read_text(encoding="utf-8"))["conversions"]
    assert [each["status"] for each in (eager, twice, half)] == ["ok", "ok", "ok"]
    assert twice["latency/floor"] > eager["latency/floor"]  # medians say what ran beside them
    assert half["fidelity/sqnr_db"] < twice["fidelity/sqnr_db"]
