"""Names of models and machines as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from almaflow.config import files
from almaflow.config.composition import compose
from almaflow.config.overrides import choose_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("model=ResNet18", "model=resnet18"),
        ("model=resnet-18", "model=resnet18"),
        ("model=vit-b-16,MobileNet_V2", "model=vit_b_16,mobilenet_v2"),
        ("hardware=H100", "hardware=h100"),
        ("hardware=a100,T4", "hardware=a100,t4"),
        ("hardware=NVIDIA-A100", "hardware=a100"),
        ("hardware=Intel-i7-12700K", "hardware=i7_12700k"),
        ("hardware='Intel Core i7-12700K'", "hardware=i7_12700k"),
        ("hardware='NVIDIA Jetson AGX Orin'", "hardware=jetson_orin_agx"),
        ("hardware=g4dn.xlarge", "hardware=g4dn_xlarge"),
        # Those that mean no choice, and what is no plain name, stay as they are.
        ("hardware=auto", "hardware=auto"),
        ("hardware='something else'", "hardware='something else'"),
        ("hardware=Intel", "hardware=Intel"),
        ("model=resnet81", "model=resnet81"),
        ("model=glob(ResNet*)", "model=glob(ResNet*)"),
        ("model.name=ResNet18", "model.name=ResNet18"),
        ("-m", "-m"),
    ],
)
def test_models_and_machines_are_found_as_people_write_them(given: str, taken: str) -> None:
    assert choose_names([given]) == [taken]


def test_no_two_choices_are_spelt_alike() -> None:
    for group in ("model", "hardware"):
        for name in files.names(group):
            assert [each for each in files.names(group) if files.meant(group, each.upper()) == name] == [name]


def test_a_users_own_choice_stands_for_itself(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "ResNet18.yaml").touch()
    assert choose_names(["model=ResNet18"], tmp_path) == ["model=ResNet18"]


def test_a_composed_job_has_the_choice() -> None:
    assert compose(["model=ResNet-50", "hardware='CPU'"]).model.arch == "resnet50"
