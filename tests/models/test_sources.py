"""The user's own code is found among everything that a process has imported."""

from __future__ import annotations

import importlib
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.models.sources import (
    changed_sources,
    digest_of,
    file_digest,
    imported_by_own,
    installed_versions,
    own_sources,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    """Imports a module from a directory or an archive; at the end it is forgotten."""

    def do(place: Path, name: str) -> None:
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name))

    return do


def written(place: Path, name: str, text: str) -> Path:
    path = place / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def installed(place: Path, version: str, code: str) -> None:
    """Install a package as pip does: with a record of its files beside it."""
    written(place / "site-packages", "my_package", code)
    information = place / "site-packages" / "my_package-1.dist-info"
    information.mkdir(exist_ok=True)
    (information / "METADATA").write_text(f"Name: my_package\nVersion: {version}\n", encoding="utf-8")
    (information / "RECORD").write_text(f"my_package.py,sha256={digest_of(code.encode())},9\n", encoding="utf-8")


def test_own_modules_are_found_wherever_they_are(tmp_path: Path, imports: Callable[[Path, str], None]) -> None:
    path = written(tmp_path / "one", "my_model", "import json")
    imports(path.parent, "my_model")
    before = own_sources()
    assert before["my_model"] == digest_of(b"import json") == file_digest(path)
    assert "json" not in before  # of the standard library
    assert not any(name.startswith(("almaflow", "pytest.")) for name in before)
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("my_model.py", "import json")
    imports(archive, "my_model")
    assert own_sources()["my_model"] == before["my_model"]  # the same in another place


@pytest.mark.parametrize("text", ["width = 2", "width = 1  # a comment"])
def test_an_edited_module_is_another_one(tmp_path: Path, imports: Callable[[Path, str], None], text: str) -> None:
    path = written(tmp_path, "my_model", "width = 1")
    imports(tmp_path, "my_model")
    before = own_sources()
    assert changed_sources(before) == changed_sources({}) == []
    path.write_text(text, encoding="utf-8")
    assert changed_sources(before) == ["my_model"]
    path.unlink()
    assert "my_model" not in own_sources()  # it cannot be told any more


def test_an_installed_package_counts_with_its_version_and_its_code(
    tmp_path: Path, imports: Callable[[Path, str], None]
) -> None:
    def version() -> dict[str, str]:
        return installed_versions({"my_package.sub", "torch", "json", "not_imported"})

    installed(tmp_path, "1", "a = 1")
    imports(tmp_path / "site-packages", "my_package")
    first = version()
    assert set(first) == {"my_package"}
    assert "my_package" not in own_sources()
    found = [first["my_package"]]
    for number, code in ("2", "a = 1"), ("2", "a = 2"), ("1", "a = 1"):
        installed(tmp_path, number, code)
        found.append(version()["my_package"])
    assert len(set(found)) == 3
    assert found[0] == found[-1]


@pytest.mark.parametrize(
    "text",
    [
        "import wave as w",
        "def late():\n    from wave.sub import thing",
        "import os, wave",
        "import os.path,wave",
    ],
)
def test_what_own_modules_import_is_found_in_their_text(
    tmp_path: Path, imports: Callable[[Path, str], None], text: str
) -> None:
    written(tmp_path, "my_model", text)
    assert "wave" not in imported_by_own()
    imports(tmp_path, "my_model")
    assert "wave" in imported_by_own()


@given(st.binary(), st.binary())
def test_digests_are_equal_where_the_contents_are(one: bytes, other: bytes) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)
