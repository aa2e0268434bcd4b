"""The words after ``almaflow run``, read before Hydra reads them."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.config.explain import keys
from almaflow.config.files import GROUPS
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    "--experimental-rerun",
}
"""Hydra's flags behind which a word belongs to them."""
FLAGS = {
    *("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m", "--info", "-i"),
    *("--shell-completion", "-sc"),
    *WITH_VALUE,
}


def check_flags(arguments: Sequence[str]) -> None:
    """Check that every option is one of Hydra's.

    Raises:
        UsageError: one is none; where it names a setting, the error says how that is written.
    """
    words = iter(enumerate(arguments))
    for index, word in words:
        if not word.startswith("-"):
            continue
        flag, given, value = word.partition("=")
        if flag in WITH_VALUE and not given:
            next(words, None)
        elif flag not in FLAGS and not (flag.startswith("--") and any(each.startswith(flag) for each in FLAGS)):
            behind = [value] if given else list(takewhile(_is_value, arguments[index + 1 :]))
            raise UsageError(_answer(flag, behind))


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """Return the directories that ``--config-dir`` names."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    behind = [Path(value) for word, value in pairs if word in {"--config-dir", "-cd"}]
    return behind + [Path(word.partition("=")[2]) for word in arguments if word.startswith(("--config-dir=", "-cd="))]


def _is_value(word: str) -> bool:
    return not word.startswith("-") and "=" not in word


def _answer(flag: str, values: list[str]) -> str:
    name = flag.lstrip("-").replace("-", "_")
    key = next((each for each in (*GROUPS, *keys()) if each == name or each.rpartition(".")[2] == name), None)
    if key is None:
        return f"{flag}: no such option; settings are written KEY=VALUE, and `almaflow run --help` lists them"
    if key == "conversions":
        value = f"[{','.join(values) or 'NAME,...'}]"
    else:
        value = ",".join(values) or ("CHOICE" if key in GROUPS else "VALUE")
    return f"{flag}: settings are written without dashes: {key}={value}"
