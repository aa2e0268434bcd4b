"""A child that answers once, and everything that it may do instead."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.errors import AlmaflowError, UsageError
from almaflow.processes.one_shot import answer_of

if TYPE_CHECKING:
    from pathlib import Path

CHILD = """
import os, sys, time
from almaflow.errors import UsageError
from almaflow.records.child_entry import answer_once

def work(question):
    print("a library speaks")
    os.write(1, b"so does one in C")
    {body}

answer_once(work, bad_input=UsageError)
"""


def ask(place: Path, body: str, question: object = None, timeout_s: float = 60, **settings: Any) -> Any:
    (place / "made_child.py").write_text(CHILD.format(body=body), encoding="utf-8")
    search = os.pathsep.join([str(place), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": search}
    return answer_of(
        "made_child", question, failed="it failed", environment=environment, timeout_s=timeout_s, **settings
    )


def test_only_the_answer_is_on_standard_output(tmp_path: Path) -> None:
    question = {"text": "\u00e9\n", "numbers": [1, None]}
    assert ask(tmp_path, "return [question, os.getcwd()]", question, directory=tmp_path) == [question, str(tmp_path)]


def test_it_finds_the_modules_that_the_caller_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "made_model.py").write_text("NAME = 7", encoding="utf-8")
    monkeypatch.syspath_prepend(str(elsewhere))
    assert ask(tmp_path, "import made_model; return made_model.NAME") == 7


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise UsageError('no such model')", UsageError, "no such model"),
        ("raise ValueError('no')", AlmaflowError, "it failed: ValueError: no"),
        ("os._exit(7)", AlmaflowError, "it failed: its process ended with 7: so does one in C"),
        ("os._exit(0)", AlmaflowError, "it failed: its process ended with 0: so does one in C"),
        ("os.abort()", AlmaflowError, "it failed: its process ended with -6: so does one in C"),
    ],
)
def test_a_child_without_an_answer_is_one_line(body: str, kind: type[Exception], said: str, tmp_path: Path) -> None:
    with pytest.raises(kind) as raised:
        ask(tmp_path, body)
    assert type(raised.value) is kind
    assert str(raised.value) == said


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(AlmaflowError, match=r"^it failed: no answer within 0\.5 s; wait$"):
        ask(tmp_path, "time.sleep(60)", timeout_s=0.5, late="wait")
