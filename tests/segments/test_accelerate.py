from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.errors import UsageError
from almaflow.segments.accelerate import MarkedModule, accelerate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


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


def test_a_marked_module_is_saved_and_copied_as_what_it_was(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = accelerate(accelerate(torch.nn.Sequential(accelerate(torch.nn.Linear(2, 1)))))
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert (type(loaded), type(loaded[0])) == (torch.nn.Sequential, torch.nn.Linear)
    assert type(pickle.loads(pickle.dumps(model))) is torch.nn.Sequential  # noqa: S301 - pickled in this line
    assert torch.equal(loaded(torch.ones(2)), model(torch.ones(2)))
    for twin in (copy.copy(model), copy.deepcopy(model)):
        assert type(twin) is type(model)
        assert type(twin[0]) is type(model[0])
        assert torch.equal(twin(torch.ones(2)), model(torch.ones(2)))
    assert copy.deepcopy(model)[0].weight is not model[0].weight
    assert isinstance(model, MarkedModule)


def test_a_module_whose_class_registers_its_subclasses_is_marked() -> None:
    torch = pytest.importorskip("torch")
    made: list[str] = []

    class Registered(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init_subclass__(cls, *, name: str) -> None:
            made.append(name)

        def forward(self, x: Any) -> Any:
            return x + 1

    class Model(Registered, name="model"):
        """A model."""

    model = accelerate(Model())
    assert (made, isinstance(model, Model), model(1), type(model).__doc__) == (["model"], True, 2, "A model.")


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
