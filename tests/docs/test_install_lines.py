"""Nothing tells people to install what is not ours: on the index, ``almaflow`` is another project."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from almaflow.records import distribution

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"pip3?['\"]?,? ['\"]?(?:install|download)\b(?P<rest>[^`\n]*)")
WORD = re.compile(r"^['\"]?(?P<name>[A-Za-z][A-Za-z0-9_.-]*)(?P<extras>\[[a-z,]+\])?(?:[=<>~!]=?[0-9.*]+)?['\"]?$")
OTHERS = {"onnxruntime-gpu", "torch-xla", "triton", "graphs"}
"""Packages of the index, or of a repository, that neither a set of versions nor an extra names."""
PROSE = {"it", "from", "the", "x", "is", "has", "needs", "reads", "in", "and", "by", "torch_tensorrt"}
"""Words that follow in a sentence, and names that tests make up."""


def allowed() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    declared = {Requirement(line).name for lines in extras for line in lines} - {distribution.NAME}
    pins = {
        line.partition("==")[0]
        for file in (ROOT / "constraints").glob("*.txt")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line[:1] not in {"#", ""}
    }
    return {canonicalize_name(each) for each in declared | pins | OTHERS}


def packages(text: str) -> list[str]:
    """The names behind each `pip install`, up to the first word that is none."""
    found = []
    for match in LINE.finditer(text):
        words = iter(match["rest"].split())
        for word in words:
            if word in {"-r", "-c"}:
                next(words, None)  # a file
            if word.startswith("-"):
                continue
            named = WORD.match(word.rstrip(".,;:)\"'"))
            if not named or named["name"] in PROSE:
                break
            found.append(named["name"])
    return found


def test_the_names_behind_pip_install_are_seen() -> None:
    assert packages("run `pip install 'almaflow[yolo]'` now") == ["almaflow"]
    assert packages("`pip install almaflow`, then") == ["almaflow"]
    assert packages("pip install --upgrade torch 'torchao==0.11.*'") == ["torch", "torchao"]
    assert packages("`pip install -r requirements.txt torch` installs") == ["torch"]
    assert packages("`pip install -e '.[yolo]'` and pip install -c constraints/current.txt -e .") == []


def test_no_install_line_names_a_distribution_that_is_not_known() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    known = allowed()
    wrong = []
    for name in listed.splitlines():
        file = ROOT / name
        if name == "tests/docs/test_install_lines.py" or not file.is_file():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [(name, package) for package in packages(text) if canonicalize_name(package) not in known]
    assert wrong == []


def test_the_distribution_is_ours() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == distribution.NAME
    assert [Requirement(line).name for line in project["optional-dependencies"]["all"]] == [distribution.NAME]
    assert project["scripts"] == {"almaflow": "almaflow.cli:main"}


def test_an_extra_is_installed_by_the_names_of_its_packages() -> None:
    assert distribution.install_line("yolo") == "pip install 'ultralytics>=8.3'"
    assert distribution.install_line("tvm") == "pip install 'apache-tvm>=0.25'"


def test_a_checkout_that_was_installed_by_the_former_name_still_says_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def found(name: str) -> str:
        asked.append(name)
        if name == distribution.NAME:
            raise PackageNotFoundError(name)
        return name

    monkeypatch.setattr("importlib.metadata.distribution", found)
    assert str(distribution.distribution.__wrapped__()) == distribution.FORMER
    assert asked == [distribution.NAME, distribution.FORMER]
