"""A child that is asked line by line, and everything that it may do instead of answering."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.misbehaving_launch import gone

from almaflow.errors import AlmaflowError
from almaflow.processes.conversation import Conversation

if TYPE_CHECKING:
    from pathlib import Path

CHILD = """
import json, os, subprocess, sys, time
from almaflow.records.child_entry import answers_only

with answers_only() as answer:
    for line in sys.stdin:
        print("a library speaks")
        os.write(1, b"so does one in C")
        question = json.loads(line)
        exec(question["do"])
"""


def talk(place: Path) -> Conversation:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", CHILD]
    return Conversation(command, place / "log", "it failed", environment, place)


def test_each_question_has_its_answers_and_nothing_else_is_between_them(tmp_path: Path) -> None:
    long = "x" * 300_000
    with talk(tmp_path) as child:
        for text in ("one", long):
            assert child.ask({"do": "answer({'text': question['text']})", "text": text}, 60) == {"text": text}
        many = "for index in range(3): answer({'index': index})\nanswer({'end': True})"
        assert list(child.ask_until("end", {"do": many})) == [{"index": index} for index in range(3)]
        assert child.ask({"do": "answer({'where': os.getcwd()})"}) == {"where": str(tmp_path)}


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("raise ValueError('no')", "it failed: ValueError: no"),
        ("os._exit(7)", "it failed: its process ended with 7: so does one in C"),
    ],
)
def test_a_child_that_ends_says_why_and_says_it_again(action: str, said: str, tmp_path: Path) -> None:
    with talk(tmp_path) as child:
        for _ in range(2):
            with pytest.raises(AlmaflowError) as raised:
                child.ask({"do": action})
            assert str(raised.value) == said


def test_a_child_that_says_nothing_is_waited_for_as_long_as_allowed(tmp_path: Path) -> None:
    with talk(tmp_path) as child:
        child.ask({"do": "answer({})"})
        began = time.monotonic()
        with pytest.raises(AlmaflowError, match=r"no answer within 0\.5 s; it last said: so does one in C"):
            child.ask({"do": "time.sleep(60)"}, 0.5)
    assert time.monotonic() - began < 20


def test_a_child_ends_with_the_block_and_so_does_what_it_has_started(tmp_path: Path) -> None:
    helper = "answer({'pid': subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid})"
    with talk(tmp_path) as child:
        pid = child.ask({"do": helper})["pid"]
        assert psutil.pid_exists(pid)
    assert gone(pid)


def test_a_child_that_was_never_asked_was_never_started(tmp_path: Path) -> None:
    with talk(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
