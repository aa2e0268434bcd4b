"""Where the configuration lies, and what of it can be read without Hydra."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from almaflow import config
from almaflow.config import files
from almaflow.errors import AlmaflowError


def test_the_configuration_is_at_the_top_of_a_checkout_or_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (files.conf_dir() / "config.yaml").is_file()
    package = tmp_path / "lib" / "src" / "almaflow"
    monkeypatch.setattr(files, "_PACKAGE", package)
    with pytest.raises(AlmaflowError, match="install the package again"):
        files.conf_dir()
    for place in (package.parents[1] / "conf", package / "conf"):
        place.mkdir(parents=True)
        shutil.copy(Path(__file__).parents[2] / "conf" / "config.yaml", place)
        assert files.conf_dir() == place  # what is inside the package wins


def test_choices_are_the_files_of_a_group() -> None:
    models = files.choices("model")
    assert len(models) == 25
    assert list(models) == sorted(models)
    assert models["efficientnet_b1"] == {"arch": "efficientnet_b1", "inputs": [{"shape": [3, 240, 240]}]}
    assert set(files.choices("tier")) == {"1", "2", "3"}


def test_choices_of_further_directories_add_but_do_not_replace(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("arch: alexnet\n", encoding="utf-8")
    (tmp_path / "model" / "resnet18.yaml").write_text("arch: alexnet\n", encoding="utf-8")
    models = files.choices("model", tmp_path)
    assert models["mine"] == {"arch": "alexnet"}
    assert models["resnet18"]["arch"] == "resnet18"


def test_an_unknown_group_is_an_error() -> None:
    with pytest.raises(KeyError):
        files.choices("modle")


def test_listing_choices_needs_neither_hydra_nor_pydantic_nor_torch() -> None:
    code = (
        "import sys; from almaflow import machine; from almaflow.config import files;"
        "files.choices('model'); machine.environment();"
        "print([name for name in ('hydra', 'omegaconf', 'pydantic', 'torch', 'mlflow') if name in sys.modules])"
    )
    source = str(Path(config.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert done.stdout.strip() == "[]"
