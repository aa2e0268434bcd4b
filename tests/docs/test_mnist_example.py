"""The handwritten digits of ``examples/mnist``: trained, quantised and measured as its page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
from markdown_it import MarkdownIt

from almaflow.config.composition import compose
from almaflow.conversions.catalogue.names import resolve

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mnist"
PAGE = (EXAMPLE / "README.md").read_text(encoding="utf-8")
OWN = ("PTQ_INT8", "QAT_INT8", "COMPILE_PTQ_INT8", "COMPILE_QAT_INT8")
DIGITS = ["--config-dir", "conf", "model=digits"]

LEARN = """
import torch
from digits import quantise, train

torch.set_num_threads(1)
train.main(["--data", "digits", "--epochs", "10"])
for more in (["--mode", "fx"], ["--weight-bits", "2"], []):
    quantise.main(["--epochs", "3", *more])
"""


def documented() -> list[list[str]]:
    """What follows `almaflow run` in the page, without the choice of the network that its table leaves out."""
    tokens = MarkdownIt("commonmark").enable("table").parse(PAGE)
    blocks = [token.content.replace("\\\n", " ") for token in tokens if token.info == "bash"]
    inline = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
    lines = [shlex.split(line) for line in [*"\n".join(blocks).splitlines(), *inline]]
    runs = [[word for word in line[2:] if word not in DIGITS] for line in lines if line[:2] == ["almaflow", "run"]]
    return [words for words in runs if words]


@pytest.mark.parametrize("words", documented(), ids=shlex.join)
def test_each_documented_run_can_be_given(words: list[str]) -> None:
    job = compose(["model=custom", "model._target_=digits.network.Net", *words])
    resolve([name for name in job.conversions or [0] if name not in OWN])


def test_the_page_has_runs() -> None:
    assert len(documented()) > 15


def test_the_page_and_the_package_name_the_same_conversions() -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["almaflow.conversions"] == {"digits": "digits.conversions:CONVERSIONS"}
    source = (EXAMPLE / "digits" / "conversions.py").read_text(encoding="utf-8")
    assert re.findall(r'"((?:COMPILE_)?[A-Z]+_INT8)"', source) == list(OWN)
    assert set(re.findall(r"`((?:COMPILE_)?(?:PTQ|QAT)_INT8)`", PAGE)) == set(OWN)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes that have the example installed, from the wheel that it builds."""
    place = tmp_path_factory.mktemp("installed")
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(place)!r}))"
    built = subprocess.run([sys.executable, "-c", code], cwd=EXAMPLE, capture_output=True, text=True, check=True)
    with ZipFile(place / built.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(place)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(place), *filter(None, sys.path)])}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory, surroundings: dict[str, str]) -> tuple[Path, list[str]]:
    """Where the network was trained and quantised in three ways, and the lines that this printed."""
    place = tmp_path_factory.mktemp("digits")
    done = subprocess.run(
        [sys.executable, "-c", LEARN], cwd=place, env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done.stdout.splitlines()


def shares(lines: list[str], name: str) -> list[float]:
    """The share of images that a network of this name reads right in each of the ways, in percent."""
    return [float(found[1]) for line in lines if (found := re.match(rf"{name} +([\d.]+)%", line))]


@pytest.mark.slow
def test_training_with_rounding_is_at_least_as_good_as_rounding_afterwards(learnt: tuple[Path, list[str]]) -> None:
    place, lines = learnt
    assert {file.suffix for file in (place / "trained").glob("qat.*")} == {".pt2", ".safetensors", ".torchscript"}
    floats, ptq, qat = (shares(lines, name) for name in ("float", "PTQ", "QAT"))
    assert min(floats) > 95
    fx, two_bits, pt2e = zip(ptq, qat, strict=True)
    assert fx[1] >= fx[0] - 1
    assert pt2e[1] >= pt2e[0] - 1
    assert two_bits[1] > two_bits[0] + 20


@pytest.mark.slow
def test_the_quantised_networks_stand_in_one_table(
    learnt: tuple[Path, list[str]], surroundings: dict[str, str], stored_home: Path
) -> None:
    place, _ = learnt
    environment = surroundings | {"ALMAFLOW_HOME": str(stored_home)}
    words = ["batch_size=16", "conversions=[EAGER,PTQ_INT8,QAT_INT8]", "evaluate=top1", "output=r.json"]
    words += ["hardware.threads=1", "measure=quick", "measure.max_time_s=0.2", "measure.min_samples=4"]
    command = [sys.executable, "-m", "almaflow", "run", "--config-dir", str(EXAMPLE / "conf"), "model=digits", *words]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    eager, *quantised = json.loads((place / "r.json").read_text(encoding="utf-8"))["conversions"]
    assert [each["status"] for each in (eager, *quantised)] == ["ok"] * 3
    for each in quantised:
        assert each["narrow/weights_share"] > 0.9
        assert each["fidelity/sqnr_db"] < 60
        assert each["quality/top1"] > 0.95
        assert each["quality/top1_drop_low"] <= each["quality/top1_drop"] <= each["quality/top1_drop_high"]
