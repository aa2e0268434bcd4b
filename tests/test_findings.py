"""Each script of findings/ says what it shows, with which versions, and is run by hand only."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))


def test_there_are_some() -> None:
    assert len(SCRIPTS) >= 10


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_says_what_it_shows(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n# Versions: ")
    assert "\n# Behaviour: " in text
    assert "\n# Seen: " in text
    assert "\nset -euo pipefail\n" in text
    assert "almaflow" not in text
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_its_versions_are_those_of_its_packages(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    pinned = (ROOT / "findings" / "packages.bash").read_text(encoding="utf-8")
    versions = re.findall(r"([a-z]+) (\d[\d.]*\d)", text.partition("# Behaviour")[0])
    assert versions
    assert [each for each in versions if "==".join(each) not in pinned] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_document_has_it(script: Path) -> None:
    assert f"`findings/{script.name}`" in (ROOT / "docs" / "runtimes.md").read_text(encoding="utf-8")


def test_ci_runs_none() -> None:
    assert "findings" not in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [line for line in makefile.splitlines() if re.match(r"[\w ]+:.*\bfindings\b", line)] == []
