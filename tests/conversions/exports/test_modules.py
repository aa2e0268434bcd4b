"""The code that builds a module again, in ``load.py``."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from almaflow.conversions.exports.building import building
from almaflow.records import ModelSpec


def built(**kwargs: object) -> tuple[tuple[str, ...], str, str]:
    work: Any = SimpleNamespace(model=ModelSpec("mine", target="torch.nn.Linear", kwargs=kwargs))
    return building(work)


def test_it_is_called_as_the_job_called_it() -> None:
    imports, call, target = built(in_features=8, out_features=2)
    assert imports == ("from torch.nn import Linear",)
    assert (call, target) == ("Linear(in_features=8, out_features=2)", "torch.nn.Linear")


@pytest.mark.parametrize("name", ["load", "check", "load.networks"])
def test_code_that_a_file_of_the_folder_hides_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    work: Any = SimpleNamespace(model=ModelSpec("mine", target=f"{name}.Network"))
    with pytest.raises(
        NotImplementedError, match=f"in a module named {name.partition('.')[0]}, as a file of the folder is"
    ):
        building(work)


def test_secrets_among_its_arguments_are_not_written() -> None:
    with pytest.raises(NotImplementedError, match="hold a secret"):
        built(width=8, api_key="made-up-1234567890")
