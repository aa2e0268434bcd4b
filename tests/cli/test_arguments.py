"""What ``almaflow run`` makes of its words before Hydra reads them: options, help, completion."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hydra._internal.utils import get_args_parser

from almaflow.cli import almaflow, completion, run_help
from almaflow.cli.arguments import FLAGS, WITH_VALUE, check_flags, config_dirs
from almaflow.cli.run import run
from almaflow.config import schema
from almaflow.config.composition import compose
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_the_flags_are_hydras() -> None:
    actions = get_args_parser()._actions
    assert {option for action in actions for option in action.option_strings} == FLAGS
    assert {option for each in actions if each.nargs is None for option in each.option_strings} == WITH_VALUE


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--model resnet18", "--model: settings are written without dashes: model=resnet18"),
        ("--model resnet18 --tier 1", "--model: settings are written without dashes: model=resnet18"),
        ("model=simple --tier=2", "--tier: settings are written without dashes: tier=2"),
        ("--batch-size 8", "--batch-size: settings are written without dashes: batch_size=8"),
        ("--threads 2", "--threads: settings are written without dashes: hardware.threads=2"),
        (
            "--conversions EAGER ONNX_CPU -m",
            "--conversions: settings are written without dashes: conversions=[EAGER,ONNX_CPU]",
        ),
        ("--hardware", "--hardware: settings are written without dashes: hardware=CHOICE"),
        ("--output", "--output: settings are written without dashes: output=VALUE"),
        ("--nope", "--nope: no such option; settings are written KEY=VALUE, and `almaflow run --help` lists them"),
    ],
)
def test_an_option_is_answered_by_what_to_write(words: str, answer: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(answer)}$"):
        check_flags(words.split())


@pytest.mark.parametrize(
    "words",
    ["model=simple -m", "--cfg job", "--multi model=a,b", "--config-dir --odd", "-i", "--info=defaults", "x=-1"],
)
def test_hydras_own_flags_pass(words: str) -> None:
    check_flags(words.split())


def test_directories_of_configs_are_seen() -> None:
    words = ["--config-dir", "a", "model=x", "-cd", "b", "--config-dir=c"]
    assert config_dirs(words) == [Path("a"), Path("b"), Path("c")]


def test_every_setting_has_a_meaning_and_its_default() -> None:
    config = compose([])
    told = {key: (default, meaning) for key, default, meaning in run_help.settings()}

    def leaves(holder: object, prefix: str = "") -> Iterator[str]:
        for each in fields(holder):  # type: ignore[arg-type]
            value = getattr(holder, each.name)
            yield from leaves(value, f"{prefix}{each.name}.") if is_dataclass(value) else [f"{prefix}{each.name}"]

    assert list(told) == list(leaves(config))
    assert [key for key, (_, meaning) in told.items() if not meaning[:1].strip()] == []
    assert told["model.arch"][0] == "resnet18"
    assert told["measure.min_samples"] == ("64", "Fewest timed calls of a conversion; 64 support a 90th percentile.")
    assert told["measure.exclusive"][1].endswith("One of wait, refuse, ignore.")
    assert told["strict"][0] == "false"
    assert "true" in told["resume"][1]
    assert "failed" in told["resume"][1]
    for words in (schema.Device, schema.LogLevel, schema.CompileCache):
        assert any(f"One of {', '.join(words)}." in meaning for _, meaning in told.values())


def test_help_shows_groups_settings_flags_and_exit_codes() -> None:
    shown = CliRunner().invoke(run, ["--help"]).output
    assert shown.startswith("almaflow run [GROUP=CHOICE ...]")
    for text in ("resnet18", "measure.min_samples=64", "--cfg job", "-sc install=bash", "130 interrupted"):
        assert text in shown
    assert max(map(len, shown.splitlines())) <= 110
    assert "130 interrupted" in " ".join(CliRunner().invoke(almaflow, ["--help"]).output.split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("almaflow run conversions=[COMPILE_INDUCTOR_D", "conversions=[COMPILE_INDUCTOR_DEFAULT"),
        (
            "almaflow run model=simple conversions=[EAGER,compile_inductor_d",
            "conversions=[EAGER,COMPILE_INDUCTOR_DEFAULT",
        ),
        ("almaflow run conversions=[NOPE", ""),
    ],
)
def test_names_of_conversions_complete(
    line: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert completion.answered()
    assert words in capsys.readouterr().out.split() or not words


def test_all_other_words_are_left_to_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "almaflow run tier=2 model=resn")
    assert not completion.answered()


def test_unknown_conversions_are_told_with_the_configuration_too() -> None:
    from almaflow.cli.run import _check_conversions

    _check_conversions("conversions:\n- EAGER\n- 2\n")
    _check_conversions("conversions: null\n")
    _check_conversions("min_samples: 3\n")
    with pytest.raises(UsageError, match="unknown conversion NOPE"):
        _check_conversions("conversions:\n- NOPE\n")
