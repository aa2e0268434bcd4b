"""``almaflow.validate`` on a fleet: a model in hand goes to the machine as files."""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING

import pytest
import torch
from tests.support.fake_fleet import use_fake_program

import almaflow
from almaflow.errors import UsageError
from almaflow.fleet import orders
from almaflow.records import to_dict

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.api.results import ValidationResult

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quick_program(stored_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del stored_home
    use_fake_program(monkeypatch)


def validate(**settings: object) -> ValidationResult:
    model = torch.nn.Linear(8, 4)
    return almaflow.validate(model, torch.ones(2, 8), overrides=["fleet=local"], **settings)  # type: ignore[arg-type]


def test_the_result_is_that_of_the_machine() -> None:
    result = validate(model_name="mine")
    assert [(each["conversion"], each["latency_ms"]) for each in result.conversions] == [("EAGER", 20.0)]
    assert result.conversions[0]["run_id"], "it is in the store"
    (kept,) = orders.orders()
    assert set(kept.order.blobs) == {"pickle_path", "batches_path"}
    assert kept.order.model is not None
    assert (kept.order.model.pickle_path, kept.order.model.directory) == (None, None)
    assert tempfile.gettempdir() not in json.dumps(to_dict(kept.order))


def test_what_the_machine_says_is_raised() -> None:
    with pytest.raises(UsageError, match="the model does not build"):
        validate(model_name="fails")


def test_a_machine_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="hardware=h100: with fleet=local"):
        validate(hardware="H100")
