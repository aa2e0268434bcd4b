"""Conversions that an installed package brings: listed, measured as others are, and never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.command_directory import Place

from almaflow.conversions.catalogue.plugins import ConversionPlugin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.commands import Zygote

MODULE = """
import time
import torch
from almaflow.conversions import ConversionPlugin

TWICE = ConversionPlugin("TWICE", "own_package:twice", "calls the model twice", dtype="float32")
NEEDY = ConversionPlugin("NEEDY", "own_package:twice", "counts what it needs", needs=("Toy_Runtime>=1", "nowhere"))
NAMED = ConversionPlugin("NAMED", "own_package:twice", "counts what it names", runtimes=("toy-runtime",))
HALF = [ConversionPlugin("FP16+TWICE", "own_package:twice", "in float16, twice", family="mine", device="cpu")]
SAME = ConversionPlugin("eager", "own_package:twice", "a name that is taken")
WRONG = ConversionPlugin("WRONG", "own_package.twice", "no colon")


def twice(model, work):
    from almaflow.conversions import BuiltModel

    def forward(*inputs):
        model(*inputs)
        time.sleep(0.05)  # longer than the model takes on any machine, however busy
        return model(*inputs)

    return BuiltModel(forward, model=model)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed package, as the metadata on the path tell."""
    (tmp_path / "own_package.py").write_text(MODULE, encoding="utf-8")
    for name in ("own-package", "toy-runtime"):
        (tmp_path / f"{name.replace('-', '_')}-1.0.dist-info").mkdir()
        set_version(tmp_path, name, "1.0")
    return tmp_path / "own_package-1.0.dist-info" / "entry_points.txt"


def set_version(place: Path, name: str, version: str) -> None:
    """The version of an installed package, as its metadata tell."""
    metadata = place / f"{name.replace('-', '_')}-1.0.dist-info" / "METADATA"
    metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")


def register(entry_points: Path, *lines: str) -> None:
    entry_points.write_text("\n".join(["[almaflow.conversions]", *lines]), encoding="utf-8")


def run(
    package: Path, *arguments: str, start: tuple[str, str] = ("-m", "almaflow")
) -> subprocess.CompletedProcess[str]:
    place = package.parents[1]
    paths = [str(place), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "ALMAFLOW_HOME": str(place / "home")}
    return subprocess.run(
        [sys.executable, *start, *arguments], env=environment, capture_output=True, text=True, check=False
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


@pytest.mark.parametrize(
    ("family", "replaces_weights", "quantises_graph"),
    [("own", False, False), ("quanto", True, False), ("pt2e", False, True)],
)
def test_the_weights_of_a_known_quantiser_are_looked_at_as_its_own(
    family: str, replaces_weights: bool, quantises_graph: bool
) -> None:
    traits = ConversionPlugin("MINE", "a:b", "does", family=family, dtype="int8").entry().traits
    assert (traits.replaces_weights, traits.quantises_graph) == (replaces_weights, quantises_graph)


JOB = """
import json
from almaflow.config.composition import compose
from almaflow.jobs.request import make_request
from almaflow.jobs.tasks import new_job
from almaflow.tracking.fingerprints import fingerprint

names = "[EAGER,TWICE,FP16+TWICE,NEEDY,NAMED]"
request = make_request(compose(["model=simple", "hardware=cpu", f"conversions={names}"]))
job = new_job(request)
print(json.dumps([{each.name: fingerprint(job, each) for each in request.plan}, job.environment]))
"""


def test_figures_of_another_version_of_its_runtime_are_others(package: Path) -> None:
    """By default its own package and what it needs count; ``runtimes`` names others."""
    register(package, *(f"{each.lower()} = own_package:{each}" for each in ("TWICE", "HALF", "NEEDY", "NAMED")))

    def job() -> tuple[dict[str, str], dict[str, str]]:
        done = run(package, start=("-c", JOB))
        assert done.returncode == 0, done.stderr
        fingerprints, environment = json.loads(done.stdout)
        return fingerprints, environment

    before, _ = job()
    for changed, others in (
        ("own-package", {"TWICE", "FP16+TWICE", "NEEDY"}),
        ("toy-runtime", {"NEEDY", "NAMED"}),
    ):
        set_version(package.parents[1], changed, "2.0")
        after, environment = job()
        assert {name for name in before if after[name] != before[name]} == others
        assert environment[changed] == "2.0"
        assert "nowhere" not in environment
        before = after


@pytest.mark.slow
def test_names_of_almaflow_0_1_still_work_and_say_what_they_are_called_now() -> None:
    from almaflow.conversions import BuildInputs, BuiltModel, native

    with pytest.warns(DeprecationWarning, match="native.Native is BuiltModel now"):
        assert native.Native is BuiltModel
    with pytest.warns(DeprecationWarning, match="native.Work is BuildInputs now"):
        assert native.Work is BuildInputs


def test_what_a_plug_in_is_described_with_imports_nothing_heavy() -> None:
    code = "import sys; from almaflow.conversions import ConversionPlugin; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


@pytest.mark.slow
def test_one_is_measured_as_others_are(package: Path, zygote: Zygote) -> None:
    register(package, "one = own_package:TWICE", "more = own_package:HALF")
    output = package.parents[1] / "output.json"
    place = Place(package.parents[1], zygote).with_store()
    names = "conversions=[EAGER,TWICE,FP16+TWICE]"
    assert place.run("model=simple", "measure=quick", names, f"output={output}") == 0, place.stderr
    eager, twice, half = json.loads(output.read_text(encoding="utf-8"))["conversions"]
    assert [each["status"] for each in (eager, twice, half)] == ["ok", "ok", "ok"]
    assert twice["latency/floor"] > 50 > eager["latency/floor"]
    assert half["fidelity/sqnr_db"] < twice["fidelity/sqnr_db"]
