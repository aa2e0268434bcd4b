"""The code that builds a module again, in ``load.py``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from almaflow.conversions.exports.modules import _building
from almaflow.records import ModelSpec


def built(**kwargs: object) -> tuple[tuple[str, ...], str, str]:
    work: Any = SimpleNamespace(model=ModelSpec("mine", target="my_models.nets.Net", kwargs=kwargs))
    return _building(work)


def test_it_is_called_as_the_job_called_it() -> None:
    assert built(width=8, name="wide") == (
        ("from my_models.nets import Net",),
        "Net(width=8, name='wide')",
        "my_models.nets.Net",
    )


def test_secrets_among_its_arguments_are_not_written() -> None:
    with pytest.raises(NotImplementedError, match="hold a secret"):
        built(width=8, api_key="made-up-1234567890")
