"""What the documents say is true: commands work, files, names, settings and tolerances are those of the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from dataclasses import asdict, replace
from importlib import import_module

import click
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from tests.support.example_jobs import GOOD, job, measured, planned
from tests.support.markdown_documents import ANY, PAGES, ROOT, anchors, blocks, codes, commands, table, within

import almaflow
from almaflow import cli, machine
from almaflow.analysis import job_metrics, outcome_metrics
from almaflow.analysis.metric_names import KNOWN, is_metric
from almaflow.config import files, resolve, store, validation
from almaflow.config.overrides import as_hydra_reads
from almaflow.conversions.catalogue import names
from almaflow.conversions.catalogue import tiers as catalogue
from almaflow.conversions.catalogue.alma import ALMA
from almaflow.conversions.catalogue.native import NATIVE
from almaflow.conversions.catalogue.plugins import GROUP
from almaflow.errors import ALERT, AlmaflowError, UsageError
from almaflow.jobs.kept_check import METRICS as EXPORT_METRICS
from almaflow.records import (
    Drift,
    DynamicDim,
    EvaluateSpec,
    Failure,
    FailureKind,
    HardwareSpec,
    MachineState,
    MeasureSpec,
    ModelSpec,
    Outcome,
    Prediction,
    QualityDrop,
    ReferenceInfo,
    Round,
    SegmentRef,
    SizeMeasurement,
    Status,
    TensorSpec,
)
from almaflow.tracking.converted_models import TAGS as MODEL_TAGS
from almaflow.tracking.profiles import PROFILE_METRICS, TOTAL_METRICS
from almaflow.tracking.schema import MARKS, job_params, job_tags, params, tags
from almaflow.worker import fidelity

PACKAGE = ROOT / "src" / "almaflow"
ELSEWHERE = ("tensorrt", "gpu", "driver", "cuda", "git_commit", "governor", "smt", "boost")
"""What the environment of other machines has."""
RUNTIME = ("almaflow.runtime.", "almaflow.threads.")
DIGESTS = ("code", "weights", "attributes", "operations", "inputs", "files")
STATE = MachineState(0.1, 0.1, 3000.0, 50.0, 1500.0, ("thermal",), 0, energy_j=1.0, watched_s=1.0)


def test_the_readme_opens_with_the_two_commands() -> None:
    first = [block.text.strip() for block in blocks("bash") if block.document == "README.md"][:2]
    assert first == ["make run", "make test"]


def test_the_readme_counts_the_conversions() -> None:
    assert f" under {len(ALMA) + len(NATIVE)} ways of deploying it" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_block_says_what_it_is() -> None:
    assert {block.language for block in blocks()} == {"bash", "csv", "python", "text", "toml", "yaml"}


def test_every_link_leads_somewhere() -> None:
    broken = []
    for document, token in within("link_open"):
        target = str(token.attrs["href"])
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        if not file.is_file() or (anchor and anchor not in anchors(str(file.resolve().relative_to(ROOT)))):
            broken.append((document, target))
    assert broken == []


LONGER = {
    "docs/README.md": "the index",
    "docs/architecture.md": "for those who read the code",
    "docs/timing.md": "every step of a measurement",
    "docs/troubleshooting.md": "looked up by symptom",
}
"""Pages that are no guides, and why."""
GUIDES = tuple(page for page in PAGES if "/results/" not in page and page not in LONGER)
TWO_SCREENS = 160
"""Lines, with the blocks of code."""


def test_the_index_lists_every_page() -> None:
    listed = {str(token.attrs["href"]).partition("#")[0] for _, token in within("link_open", "docs/README.md")}
    assert listed >= {page.removeprefix("docs/") for page in PAGES if page != "docs/README.md"}


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_is_one_or_two_screens(page: str) -> None:
    assert len((ROOT / page).read_text(encoding="utf-8").splitlines()) <= TWO_SCREENS


def test_each_page_of_results_is_linked_from_its_guide() -> None:
    results = {page.removeprefix("docs/") for page in PAGES if "/results/" in page}
    linked = {str(token.attrs["href"]).partition("#")[0] for page, token in within("link_open") if page in GUIDES}
    assert results <= linked


def test_every_file_that_is_named_is_there() -> None:
    sources = "\n".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    shown = {block.title for block in blocks("python")}
    named = [code for code in codes() if re.fullmatch(r"(?!-)[\w./-]+(?:\.(?:py|yaml|md|toml|txt|json|log)|/)", code)]
    assert len(named) > 20
    missing = [
        name
        for name in named
        if not any((place / name).exists() for place in (ROOT, PACKAGE))
        and f'"{name}"' not in sources
        and f'"{name.rstrip("/")}"' not in sources
        and name not in shown
    ]
    assert missing == []


def test_every_make_target_is_there() -> None:
    lines = [*map(shlex.join, commands()), *codes()]
    made = {line for line in lines if line.startswith("make ")}
    assert {"make run", "make test"} <= made
    # Not those of the make that runs the tests.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    for line in sorted(made):
        command = [*shlex.split(line), "-n"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line


def test_every_other_program_is_one_that_is_checked() -> None:
    assert {command[0] for command in commands()} == {"make", "almaflow", ".", "pip", "mlflow"}
    assert [command for command in commands() if command[0] == "."] == [(".", ".venv/bin/activate")]
    assert "CURRENT := .venv\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    installed = [command[2:] for command in commands() if command[0] == "pip"]
    assert [package for packages in installed for package in packages if package not in declared] == []


def test_every_command_of_mlflow_can_be_given() -> None:
    from mlflow import cli as mlflow_cli

    given = [words[1:] for words in commands() if words[0] == "mlflow"]
    assert given
    for words in given:
        command: click.Command = mlflow_cli.cli
        rest = list(words)
        while isinstance(command, click.Group):
            command = command.commands[rest.pop(0)]
        command.make_context(words[0], rest)


def expanded(overrides: list[str], *, multirun: bool) -> list[list[str]]:
    """The jobs of a command, as Hydra's own sweeper makes them."""
    quoted = as_hydra_reads(overrides)
    if not multirun:
        return [quoted]
    loader = GlobalHydra.instance().config_loader()  # for patterns over names
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides=quoted)
    return [list(each) for batch in BasicSweeper.split_arguments(parsed, None) for each in batch]


OWN_CONFIGS = ("predictor=per_flop",)
"""Choices that the reader of a document has written."""
IN_TEXT = [tuple(shlex.split(code)) for code in codes() if code.startswith("almaflow ")]


@pytest.mark.parametrize(
    "words", [words[1:] for words in commands() + IN_TEXT if words[0] == "almaflow"], ids=shlex.join
)
def test_every_almaflow_command_can_be_given(words: tuple[str, ...]) -> None:
    name, *rest = words
    if name != "run":
        command = getattr(import_module(f"almaflow.cli.{name}"), name)
        assert isinstance(command, click.Command)
        context = command.make_context(name, rest)
        if isinstance(command, click.Group):
            found, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            assert inner is not None
            inner.make_context(found, rest)
        return
    given = get_args_parser().parse_args(rest)
    if given.config_dir:  # of a reader's own: these run for real, below
        assert [each for each in OWN_CONFIGS if each in rest]
        return
    store.register()
    with initialize_config_dir(str(files.conf_dir()), version_base="1.3"):
        for overrides in expanded(given.overrides, multirun=given.multirun):
            made = validation.validate(compose("config", overrides))
            assert resolve.resolve_model(made).name
            assert names.resolve(made.conversions or ["EAGER"])


def test_every_setting_in_the_text_is_one() -> None:
    store.register()
    given = [code for code in codes() if re.fullmatch(r"[a-z][a-z_.0-9]*=[^ ]+", code)]
    assert len(given) > 10
    with initialize_config_dir(str(files.conf_dir()), version_base="1.3"):
        for override in given:
            try:
                compose("config", as_hydra_reads([re.sub(r"\[\.\.\.\]$", "[EAGER]", override)]))
            except Exception as error:  # noqa: BLE001 - whatever Hydra raises is shown with what it is about
                pytest.fail(f"{override}: {error}")
        known = compose("config")
        keys = [code for code in codes() if re.fullmatch(r"(model|hardware|measure|tracking)\.[a-z_]+", code)]
        assert len(keys) > 10
        assert [key for key in keys if key.partition(".")[2] not in known[key.partition(".")[0]]] == []


def test_every_option_in_the_text_is_one() -> None:
    known = {option for action in get_args_parser()._actions for option in action.option_strings}
    for name in cli.COMMANDS:
        command = getattr(import_module(f"almaflow.cli.{name}"), name)
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        known |= {option for each in (command, *inner) for parameter in each.params for option in parameter.opts}
    assert {code.split()[0] for code in codes() if code.startswith("-")} - known == set()


def test_every_name_that_mlflow_gets_is_in_the_architecture_and_no_other() -> None:
    """A conversion of which everything is known, one that failed, one that cannot run, and their job."""
    tensor = TensorSpec((1, 3, 224, 224), "float32")
    whole = replace(
        measured([1.0] * 700, fidelity=replace(GOOD, worst_part_db=100.0, equal_share=1.0)),
        runtime={"provider": "x"},
        threads={"torch": 2},
        repairs=("int4-weight-only",),
        device_memory_mb=1.0,
        recompiles=0,
        notes=("a note",),
        model_mb=1.0,
        export_mb=1.0,
        narrow_weights_share=0.5,
        narrow_work_share=0.5,
        outside_share=0.5,
        convert_cpu_s=1.0,
        first_call_cpu_s=1.0,
        prepared_beside=0.5,
        quality={"top1": 0.7},
        quality_drops={"top1": QualityDrop(0.1, 0.0, 0.2)},
        quality_samples=10,
        calibration_samples=4,
        evaluate_s=1.0,
        sizes=(SizeMeasurement({"batch": 8}, (1.0,), 90.0, 1e-6, 0),),
        device_samples_ms=(1.0,),
        rounds=tuple(
            Round(replicate, index, count=50, started_at=0, wall_s=0.05, cpu_s=0.05, control_ms=1, state=STATE)
            for replicate in range(2)
            for index in range(7)
        ),
    )
    eager = Outcome(planned("EAGER"), Status.OK, 0, 1, whole, prediction=Prediction(1.0, "given", "1"))
    eager = replace(eager, predictions=(Prediction(1.0, "given", "1", low_ms=0.5, high_ms=2.0),))
    inductor = Outcome(planned("COMPILE_INDUCTOR_DEFAULT"), Status.OK, 0, 1, whole)
    failed = replace(
        inductor, status=Status.FAILED, failure=Failure(FailureKind.ERROR, "it broke", "convert"), interrupted=True
    )
    gone = replace(planned("ONNX_GPU"), unavailable="no GPU", install="buy one")
    missing = Outcome(gone, Status.UNAVAILABLE, 0, 0)
    made = replace(
        job(eager, inductor, failed, missing),
        prepared=ReferenceInfo(
            *((tensor,), (tensor,), 1, "x", "cpu", {}, 0.1), digests=dict.fromkeys(DIGESTS, "x"), quality={"top1": 0.8}
        ),
        model=ModelSpec("m", dynamic=(DynamicDim("batch"),), sizes=({"batch": 8},)),
        measure=MeasureSpec(memory_limit_mb=1.0),
        evaluate=EvaluateSpec("x", max_drop=0.01),
        hardware=HardwareSpec("here", "cpu", threads=1, cpus=(0,)),
        drift=Drift(1.0, 1.1, 0.05),
        environment=dict.fromkeys((*machine.environment(), *ELSEWHERE), "x"),
        machine="x",
        ended_at=1.0,
        sweep_id="s",
        plan_fingerprint="p",
    )
    made = replace(made, model=replace(made.model, segment=SegmentRef("s", "f", "p", "app.py:1", 1)))
    every = {name for outcome in made.outcomes for name in outcome_metrics(made, outcome)}
    assert [name for name in sorted(every) if not is_metric(name)] == []
    assert {*KNOWN} - every == set()
    every |= set(job_metrics(made) | {"time/tracking": 1.0}) | set(job_params(made)) | set(job_tags(made))
    for outcome in made.outcomes:
        every |= set(params(made, outcome)) | set(tags(made, outcome))
    of_models = {*EXPORT_METRICS, *MODEL_TAGS}
    every |= {"almaflow.job_run_id", *MARKS, *of_models, *PROFILE_METRICS, *TOTAL_METRICS}  # of the writers

    said = codes("docs/architecture.md")
    families = tuple(name.removesuffix(ANY) for name in said if name.endswith(ANY))
    quality = ("quality/", "evaluate.", "calibration.")
    assert set(families) == {
        "prediction/",
        "size/",
        *quality,
        "measure.",
        "almaflow.predictor_version.",
        *RUNTIME,
        "env.",
    }
    assert [name for name in sorted(every) if name not in said and not name.startswith(families)] == []
    environment = next(row[1] for row in table("docs/architecture.md", "tag") if row[0] == f"env.{ANY}")
    assert set(environment.split(", ")) == set(made.environment)

    sections = "|".join({re.escape(name.partition("/")[0]) for name in every if "/" in name})
    claimed = {code for code in codes() if re.fullmatch(rf"(almaflow|env)\.[a-z_.]+|({sections})/[a-z0-9_]+", code)}
    offered = {f"almaflow.{name}" for name in almaflow.__all__}
    claimed -= {GROUP}  # of entry points
    assert {name for name in claimed - every - offered if not name.startswith(families)} == set()


def test_the_settings_are_those_of_the_files() -> None:
    rows = table("docs/measurement.md", "setting")
    assert [row[0] for row in rows] == [f"measure.{name}" for name in asdict(MeasureSpec())]
    for column, name in enumerate(("default", "quick", "thorough"), start=1):
        written = asdict(MeasureSpec()) | files.choices("measure")["default"] | files.choices("measure")[name]
        assert {row[0]: yaml.safe_load(row[column]) for row in rows} == {f"measure.{k}": v for k, v in written.items()}


def test_the_tolerances_are_those_that_are_asked() -> None:
    rows = {name: tuple(map(float, asked)) for name, *asked in table("docs/fidelity.md", "arithmetic")}
    tolerances = {name: fidelity.tolerance_of(name) for name in fidelity.TOLERANCE_DB} | {
        "others": fidelity.tolerance_of("int4")
    }
    assert rows == {
        name: (each.least_db, each.least_correlation, each.least_equal) for name, each in tolerances.items()
    }


def test_the_tiers_are_those_of_the_catalogue() -> None:
    rows = table("docs/conversions.md", "tier")
    assert [row[0][0] for row in rows] == [str(number) for number in catalogue.TIERS]
    quick = ["EAGER", "COMPILE_INDUCTOR_DEFAULT"]
    assert rows[0][1].split(", ") == quick
    for column, device in enumerate(catalogue.DEVICES, start=1):
        assert [entry.name for entry in catalogue.tier(1, device)] == quick
        core = [entry.name for entry in catalogue.tier(2, device)]
        assert quick + rows[1][column].removeprefix("also ").split(", ") == core


def test_failure_classes_and_exit_codes_are_all_there() -> None:
    assert [row[0] for row in table("docs/troubleshooting.md", "class")] == [kind.value for kind in FailureKind]
    codes_said = [int(row[0]) for row in table("docs/quick-reference.md", "code")]
    assert codes_said == [0, AlmaflowError.exit_code, UsageError.exit_code, ALERT, cli.INTERRUPTED]


def test_every_conversion_that_is_named_is_known() -> None:
    named = [code for code in codes() if re.fullmatch(r"[A-Z][A-Z0-9+]*_[A-Z0-9_+]+|EAGER|OPENVINO|TENSORRT", code)]
    environment = {
        "MLFLOW_TRACKING_URI",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
        "MLFLOW_HTTP_REQUEST_TIMEOUT",
        "ALMAFLOW_HOME",
        "ALMAFLOW_ENV_TAGS",
        "RUN_ID",
        "SWEEP_ID",
        "CUDA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
        "TORCHINDUCTOR_COMPILE_THREADS",
        "MLFLOW_TRACKING_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "HF_TOKEN",
    }
    properties = {"INFERENCE_PRECISION_HINT"}
    steps = {step for conversion in (*ALMA, *NATIVE) for step in conversion.steps}
    names.resolve([name for name in named if name not in environment | properties | steps])
