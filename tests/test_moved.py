"""Old names that stored files and plug-ins use are found for one more release."""

from __future__ import annotations

import importlib

import pytest
from tests.support.example_jobs import planned

from almaflow import moved, records
from almaflow.conversions.catalogue import plugins


@pytest.mark.parametrize("old", moved.MODULES)
def test_an_old_module_is_found_and_says_its_new_name(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is {moved.MODULES[old]} now"):
        module = importlib.reload(importlib.import_module(old))
    new = importlib.import_module(moved.MODULES[old])
    assert {name for name in vars(new) if not name.startswith("__")} <= set(vars(module))


def test_a_plug_in_finds_its_class_by_the_old_name() -> None:
    module = importlib.import_module("almaflow.conversions.registered")
    assert module.OwnConversion is plugins.ConversionPlugin


@pytest.mark.parametrize(("old", "new"), moved.NAMES["almaflow.records"].items())
def test_an_old_record_is_found_and_says_its_new_name(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"almaflow.records.{old} is {new} now"):
        assert getattr(records, old) is getattr(records, new)


def test_a_name_that_never_was_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"almaflow\.records.*Nothing"):
        _ = records.Nothing


@pytest.mark.slow
@pytest.mark.alma
def test_scripts_of_earlier_jobs_compare_as_they_did() -> None:
    import torch

    from almaflow.worker import conversion, inputs

    assert conversion.Inputs is inputs.Inputs  # type: ignore[attr-defined]
    answers = [[torch.randn(2, 3)] for _ in range(2)]

    class Converted:
        def call(self, batch: int) -> torch.Tensor:
            return answers[batch][0]

    class Given:
        def get(self, index: int) -> int:
            return index

    assert conversion.fidelity_of(Converted(), Given(), answers, planned("EAGER")).ok  # type: ignore[operator]
    with pytest.raises(AttributeError, match="Nothing"):
        _ = conversion.Nothing
