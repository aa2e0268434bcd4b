from __future__ import annotations

import functools
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.errors import UsageError
from almaflow.segments.accelerate import accelerate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def test_outside_of_a_session_a_function_runs_as_it_is() -> None:
    @accelerate
    def add(first: int, *, second: int = 2) -> int:
        """Add."""
        return first + second

    assert (add(1), add(1, second=5)) == (3, 6)
    assert (add.__name__, add.__doc__) == ("add", "Add.")


def test_it_takes_settings_before_the_function_and_stands_on_methods() -> None:
    class Adder:
        def __init__(self, first: int) -> None:
            self.first = first

        @accelerate(dynamic=True, name="adding")
        def add(self, second: int) -> int:
            return self.first + second

    assert Adder(1).add(2) == 3


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> int:
    return 1


async def both() -> AsyncIterator[int]:
    yield 1


def test_a_function_around_a_coroutine_is_a_function() -> None:
    @functools.wraps(coroutine)
    def run() -> int:
        return 3

    assert accelerate(run)() == 3


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (generator, r"^accelerate\(generator\): is a generator, .*; decorate what it calls$"),
        (both, r"^accelerate\(both\): is a generator, .*; decorate what it calls$"),
        (coroutine, r"^accelerate\(coroutine\): is a coroutine, .*; decorate what it calls$"),
        (staticmethod(len), r"^accelerate\(len\): stands above @staticmethod; put it directly above the function$"),
        (dict, r"^accelerate: got a class, and takes a function or a torch\.nn\.Module$"),
        (3, r"^accelerate: got a int, and takes a function or a torch\.nn\.Module$"),
    ],
)
def test_what_has_no_calls_to_time_is_refused(target: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        accelerate(target)


def test_marking_a_function_imports_nothing_slow() -> None:
    program = (
        "import sys, almaflow; almaflow.accelerate(len); print(sorted({'torch', 'numpy', 'mlflow'} & {*sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
