"""One empty store to copy, for all of these tests."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.faults.commands import make_store
from tests.faults.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.commands import Zygote


@pytest.fixture(scope="session")
def template(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    make_store(zygote, path)
    return path


@pytest.fixture
def place(zygote: Zygote, template: Path, tmp_path: Path) -> Iterator[Place]:
    root = tmp_path / "place"
    yield Place(zygote, root, template)
    zygote.end_all()
    shutil.rmtree(root, ignore_errors=True)
