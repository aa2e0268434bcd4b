"""A job's configuration composed from Python, also inside another Hydra application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hydra
import numpy as np
import pytest
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.version import getbase
from hypothesis import given, settings
from hypothesis import strategies as st

from almaflow.config import composition, overrides, validation
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@settings(deadline=None, max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(str.strip))
def test_any_text_is_taken_as_it_is(text: str) -> None:
    assert composition.compose([overrides.override("experiment_name", text)]).experiment_name == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("seed", np.int64(3), "seed=3"),
        ("predicted_latency_ms", np.float32(0.5), "predicted_latency_ms=0.5"),
        ("strict", True, "strict=true"),
        ("output", None, "output=null"),
        ("conversions", ("EXPORT+COMPILE", 3), "conversions=['EXPORT+COMPILE',3]"),
    ],
)
def test_values_as_overrides(key: str, value: object, text: str) -> None:
    assert overrides.override(key, value) == text
    assert key in validation.plain(composition.compose([text]))


def test_a_value_that_no_key_takes_is_refused() -> None:
    with pytest.raises(UsageError, match="seed: is a object, and must be text, a number or a list"):
        overrides.override("seed", object())


def test_a_later_override_wins_and_a_wrong_one_is_explained() -> None:
    assert composition.compose(["batch_size=2", "tier=3", "batch_size=4"]).batch_size == 4
    with pytest.raises(UsageError, match="batch_size=x: must be a whole number"):
        composition.compose(["batch_size=x"])


def test_another_hydra_application_goes_on_as_before(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("defaults: [schema, _self_]\nmine: 1\n", encoding="utf-8")
    store = ConfigStore.instance()
    before = store.repo.get("schema.yaml")
    store.store(name="schema", node={"theirs": 2})
    try:
        with initialize_config_dir(str(tmp_path), version_base="1.2"):
            theirs = GlobalHydra.instance()
            assert composition.compose(["batch_size=3"]).batch_size == 3
            with pytest.raises(UsageError):
                composition.compose(["nope=3"])
            assert GlobalHydra.instance() is theirs
            assert str(getbase()) == "1.2"
            assert hydra.compose("config") == {"mine": 1, "theirs": 2}
    finally:
        store.repo["schema.yaml"] = before
    assert not GlobalHydra.instance().is_initialized()
