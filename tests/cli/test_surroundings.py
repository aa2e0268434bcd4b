"""What a command finds around it: a home that cannot be written, and warnings that are to be raised."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from almaflow.cli import main
from almaflow.cli.surroundings import existing_directory, writable_home
from almaflow.errors import AlmaflowError
from almaflow.sweeps import record as sweeping

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("below", ["", "jobs/1", ".."])
def test_a_home_that_cannot_be_written_says_how_to_choose_another(home: Path, below: str) -> None:
    place = (home / below).resolve()
    with pytest.raises(AlmaflowError) as raised, writable_home():
        raise OSError(errno.EROFS, "Read-only file system", str(place))
    said = "cannot be written (Read-only file system): let ALMAFLOW_HOME name a directory that can be written"
    assert str(raised.value) == f"{place} {said}"


@pytest.mark.parametrize(
    "error", [OSError(errno.EROFS, "Read-only file system", "/elsewhere/file"), OSError(errno.EPIPE, "Broken pipe")]
)
def test_another_error_is_not_taken_for_it(error: OSError) -> None:
    with pytest.raises(OSError) as raised, writable_home():  # noqa: PT011 - this very one
        raise error
    assert raised.value is error


def test_a_sweep_that_cannot_be_begun_is_one_line_and_no_job_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(home))

    monkeypatch.setattr(sweeping, "begin", begin)
    with pytest.raises(SystemExit) as ended:
        main(["run", "-m", "model=simple", "batch_size=1,2"])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"almaflow: {home} cannot be written")
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


def test_warnings_that_are_to_be_raised_are_shown_here_and_in_children() -> None:
    code = (
        "from almaflow.cli.surroundings import show_warnings; show_warnings()\n"
        "import os, warnings; warnings.warn('of a library'); print(os.environ['PYTHONWARNINGS'])"
    )
    command = [sys.executable, "-W", "ignore::ImportWarning", "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "of a library" in done.stderr
    assert done.stdout == "ignore::ImportWarning\n"


@pytest.mark.usefixtures("home")
def test_a_working_directory_that_was_removed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    there.rmdir()
    with pytest.raises(SystemExit) as ended:
        main(["run", "model=simple"])
    assert ended.value.code == 1
    said = "the directory in which this was started has been removed: change to another one, as by `cd`"
    assert capsys.readouterr().err == f"almaflow: {said}\n"


def test_another_file_that_is_not_there_is_not_taken_for_it() -> None:
    error = FileNotFoundError(errno.ENOENT, "No such file or directory")
    with pytest.raises(FileNotFoundError) as raised, existing_directory():
        raise error
    assert raised.value is error
