"""Files of runs in a database that a server has written: it names no place in their URIs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.errors import TrackingError
from almaflow.tracking.artifacts import copy_to, discard_model, fetched, has

if TYPE_CHECKING:
    from pathlib import Path


def store_in(place: Path, path: str = "/1/r1/artifacts") -> Any:
    """A client of an sqlite store whose run has such a URI; MLflow's own calls are not there, since they would fail."""
    run = SimpleNamespace(info=SimpleNamespace(artifact_uri=f"mlflow-artifacts:{path}"))
    return SimpleNamespace(tracking_uri=f"sqlite:///{place}/mlflow.db", get_run=lambda _: run)


def test_they_are_read_and_written_beside_the_database(tmp_path: Path) -> None:
    files = tmp_path / "mlartifacts" / "1" / "r1" / "artifacts"
    files.mkdir(parents=True)
    (files / "output.json").write_text("{}", encoding="utf-8")
    client = store_in(tmp_path)
    path = fetched(client, "r1", "output.json", str(tmp_path))
    assert path is not None
    assert path.read_text(encoding="utf-8") == "{}"
    assert fetched(client, "r1", "other.json", str(tmp_path)) is None
    more = tmp_path / "more"
    more.mkdir()
    (more / "a.txt").write_text("a", encoding="utf-8")
    copy_to(client, "r1", more)
    assert has(client, "r1", "a.txt")
    assert (files / "a.txt").read_text(encoding="utf-8") == "a"


@pytest.mark.parametrize("path", ["/1/r1/artifacts", "/../../etc", "/%2e%2e/%2e%2e/etc", "//host:5000/1/r1/artifacts"])
def test_elsewhere_is_one_line_with_what_to_do(tmp_path: Path, path: str) -> None:
    if path != "/1/r1/artifacts":
        (tmp_path / "mlartifacts").mkdir()
    with pytest.raises(TrackingError, match=r"^the files of run r1 are with the MLflow server .* by --uri [^\n]*$"):
        fetched(store_in(tmp_path, path), "r1", "output.json", str(tmp_path))


@pytest.mark.parametrize(
    ("place", "model_id", "deleted"),
    [
        ("models/m-1/artifacts", "m-1", True),
        ("models/m-1/artifacts/", "m-1", True),
        ("mine", "m-1", False),
        ("models/m-2/artifacts", "m-1", False),
        ("mine#/models/m-1/artifacts", "m-1", False),
        ("mine/models/../artifacts", "..", False),
    ],
)
def test_only_the_files_of_the_model_itself_are_deleted(
    tmp_path: Path, place: str, model_id: str, *, deleted: bool
) -> None:
    for path in ("mine/models", "mine/artifacts", "models/m-1/artifacts", "models/m-2/artifacts"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "a.txt").write_text("a", encoding="utf-8")
    before = set(tmp_path.rglob("a.txt"))
    gone: list[str] = []
    client: Any = SimpleNamespace(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", delete_logged_model=gone.append)
    model: Any = SimpleNamespace(model_id=model_id, artifact_location=f"{tmp_path.as_uri()}/{place}")
    discard_model(client, model)
    assert gone == [model_id]
    left = set(tmp_path.rglob("a.txt"))
    assert left == (before - {tmp_path / "models/m-1/artifacts/a.txt"} if deleted else before)
