from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support import two_graphs
from tests.support.made_profiles import figure, results, write_profile

from almaflow import machine
from almaflow.cli.profile import profile
from almaflow.cli.sync import sync
from almaflow.errors import UsageError
from almaflow.tracking.uris import display_uri, resolve_uri

APP = Path(two_graphs.__file__ or "")


def run(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(profile, words, standalone_mode=False)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert (done.return_value or 0) == code, done.output
    return done


def test_a_profile_is_shown_with_its_graphs() -> None:
    files = write_profile("ab", "ab", "ab")
    files.write_results(results(figure("a", "EAGER", 4.0), figure("b", "EAGER", 2.0)))
    files.recorded.segment_dir("a").mkdir()
    (files.recorded.segment_dir("a") / "graph.py").write_text("def forward(self): ...", encoding="utf-8")
    shown = run("show", "made", "--graphs").output
    assert "best of each" in shown
    assert "# a, app.py:10, 3 operations\ndef forward(self): ..." in shown
    assert "# not kept" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "other"), "no such profile"),
        (("measure", "other", "local/ONNX_CPU"), "no such profile"),
        (("missing.py", "--function", "predict"), "cannot be read"),
    ],
)
def test_wrong_words_are_one_line(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(*words)


def test_unknown_backends_are_refused_before_anything_runs() -> None:
    write_profile("a")
    with pytest.raises(UsageError, match="NOTHING"):
        run("measure", "made", "local/NOTHING")


def test_an_unknown_backend_is_refused_before_the_application_runs() -> None:
    with pytest.raises(UsageError, match="NOTHING"):
        run(str(APP), "--function", "predict", "--backend", "local/NOTHING", "--", "3")


@pytest.mark.slow  # PyTorch's compiler is imported
def test_an_application_is_recorded_as_it_is() -> None:
    done = run(str(APP), "--function", "predict", "--no-measure", "--", "4")
    assert "answers: 4" in done.output
    assert "almaflow profile measure " in done.output
    (made,) = (machine.home() / "profiles").iterdir()
    shown = run("show", made.name).output
    assert "predict: 4 calls" in shown
    assert "2 segments" in shown
    assert "nothing was measured yet" in shown


def test_a_profile_that_cannot_be_written_does_not_stop_the_others(stored_home: Path) -> None:
    files = write_profile("a", "a", "a")
    files.write_results(replace(results(figure("a", "EAGER", 4.0)), store=display_uri(resolve_uri(None))))
    for name, damaged in (("lacks_its_record", "profile.json"), ("lacks_a_segment", "calls.jsonl")):
        other = shutil.copytree(files.recorded.root, stored_home / "profiles" / name)
        (other / damaged).write_text((other / damaged).read_text(encoding="utf-8").replace('"a"', '"b"'))
    (stored_home / "profiles" / "lacks_its_record" / "profile.json").unlink()
    done = CliRunner().invoke(sync, [], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 1)
    assert "profile lacks_its_record: not written: FileNotFoundError: " in done.output
    assert "profile lacks_a_segment: not written: KeyError: " in done.output
    assert "profile made: written" in done.output


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_profile_is_measured_and_named_by_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, elsewhere: bool
) -> None:
    root = write_profile("a").recorded.root
    if elsewhere:
        root = root.rename(tmp_path / "another home")
    asked: list[Path] = []
    monkeypatch.setattr("almaflow.profiles.measure.measure_profile", lambda where, *_, **__: asked.append(where))
    shown = run("measure", str(root) if elsewhere else "made", "local/EAGER").output
    assert asked == [root]
    assert "predict: 1 call" in shown
    name = f"'{root}'" if elsewhere else "made"
    assert shown.endswith(f"all of it: almaflow profile show {name} --verbose\n")


def test_sync_writes_what_the_store_missed(stored_home: Path) -> None:
    files = write_profile("a", "a", "a")
    known = replace(results(figure("a", "EAGER", 4.0)), store=display_uri(resolve_uri(None)))
    files.write_results(known)
    done = CliRunner().invoke(sync, [], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0)
    assert "profile made: written" in done.output
    assert files.results().tracked
    assert (stored_home / "profiles" / "made" / "summary" / "report.txt").is_file()
    assert "profile made" not in CliRunner().invoke(sync, [], standalone_mode=False).output
