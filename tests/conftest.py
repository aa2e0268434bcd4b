"""What every test gets: a home of its own, so that none touches the user's store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Almaflow's home under the test's own directory; an MLflow server of the user's is not seen."""
    place = tmp_path / "almaflow-home"
    monkeypatch.setenv("ALMAFLOW_HOME", str(place))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return place
