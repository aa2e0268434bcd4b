from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import almaflow
from almaflow.errors import UsageError
from almaflow.segments.application import decorated, run_application

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "profile"
SOURCE = """
import sys
from helper import NAME

def predict(value):
    return value + 1

class Model:
    def forward(self, value):
        return predict(value) * 2

if __name__ == "__main__":
    print(NAME, sys.argv[1:], Model().forward(1))
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application with a module beside it; decorating a function adds 100 to what it returns."""

    def accelerate(function: Callable[..., int]) -> Callable[..., int]:
        return lambda *args: function(*args) + 100

    monkeypatch.setattr(almaflow, "accelerate", accelerate, raising=False)
    (tmp_path / "helper.py").write_text("NAME = 'helped'", encoding="utf-8")
    path = tmp_path / "app.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("functions", "answer"), [(["predict"], 204), (["Model.forward"], 104), (["predict", "Model.forward"], 304)]
)
def test_the_named_functions_are_decorated_and_the_program_runs(
    app: Path, functions: list[str], answer: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.argv, sys.path[:], sys.modules["__main__"]
    run_application(app, decorated(app, functions), ["--texts", "2"])
    assert capsys.readouterr().out == f"helped ['--texts', '2'] {answer}\n"
    assert (sys.argv, sys.path, sys.modules["__main__"]) == before
    sys.modules.pop("helper")


def test_an_unknown_function_is_one_line_with_those_that_are_there(app: Path) -> None:
    with pytest.raises(UsageError, match=r"--function other: .* its functions: predict, Model.forward"):
        decorated(app, ["other"])


def test_what_is_no_python_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def predict(:", encoding="utf-8")
    with pytest.raises(UsageError, match="is no Python"):
        decorated(tmp_path / "app.py", ["predict"])


def test_the_application_s_own_exit_is_its_own(app: Path) -> None:
    app.write_text("def predict(): pass\nraise SystemExit(3)", encoding="utf-8")
    with pytest.raises(SystemExit, match="3"):
        run_application(app, decorated(app, ["predict"]), [])


def test_a_decorated_function_begins_where_it_did(app: Path) -> None:
    code = decorated(app, ["predict"])
    (function,) = [each for each in code.co_consts if getattr(each, "co_name", "") == "predict"]
    assert function.co_firstlineno == 1 + SOURCE.split("def predict", maxsplit=1)[0].count("\n")


@pytest.mark.parametrize(("name", "function"), [("sentiment.py", "predict"), ("generate.py", "step")])
def test_the_examples_have_the_functions_that_they_name(name: str, function: str) -> None:
    path = EXAMPLES / name
    assert "accelerate" in str(decorated(path, [function]).co_names)
    assert f"examples/profile/{name} --function {function} -- " in path.read_text(encoding="utf-8")
