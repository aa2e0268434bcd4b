"""The applications of ``examples/profile`` in small sizes: recorded, they answer as they do without."""

from __future__ import annotations

import ast
import re
import shlex
from typing import TYPE_CHECKING

import pytest
from tests.support.markdown_documents import ROOT

from almaflow.segments.application import decorated, run_application
from almaflow.segments.session import ProfilingSession

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records.profile import Profile

EXAMPLES = ROOT / "examples" / "profile"
WITH_OWN_SESSION = ("hello_world", "minilm")
APPLICATIONS = sorted(path.stem for path in EXAMPLES.glob("*.py") if "argparse" in path.read_text(encoding="utf-8"))


def command(name: str) -> list[str]:
    """The command of an example's docstring."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))) or ""
    found = re.search(r"``(almaflow profile|python) (examples/profile/[^`]*)``", docstring)
    assert found, f"{name}: its docstring has no command"
    return shlex.split(found[2])


def recorded(name: str, home: Path) -> Profile:
    path, *words = command(name)
    split = words.index("--")
    functions = [each for each in words[:split] if each != "--function"]
    with ProfilingSession((), home=home) as session:
        run_application(ROOT / path, decorated(ROOT / path, functions), [*words[split + 1 :], "--tiny"])
    assert session.profile is not None
    assert [each.name for each in session.profile.functions] == functions
    return session.profile


@pytest.mark.slow
@pytest.mark.parametrize("name", [each for each in APPLICATIONS if each not in WITH_OWN_SESSION])
def test_an_example_is_captured_and_answers_as_without(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, *words = command(name)
    run_application(ROOT / path, decorated(ROOT / path, []), [*words[words.index("--") + 1 :], "--tiny"])
    without = capsys.readouterr().out
    profile = recorded(name, tmp_path)
    assert capsys.readouterr().out == without != ""
    assert profile.error is None
    for function in profile.functions:
        assert function.uncaptured == (), f"{function.name}: {profile.lost}"
        assert function.whole is not None, f"{function.name}: every call was discarded: {function.discarded}"
    assert any(each.unmeasurable is None and each.weights_bytes for each in profile.segments)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_OWN_SESSION)
def test_an_example_with_its_own_session_prints_its_report(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, *_ = command(name)
    run_application(ROOT / path, decorated(ROOT / path, []), ["--tiny", "--record-only"])
    assert "Not captured: nothing" in capsys.readouterr().out
