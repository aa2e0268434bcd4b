"""Callables by their import path, and what is said when they do not import."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.errors import UsageError
from almaflow.models.build import MUST_RETURN, build_model
from almaflow.models.targets import call_target
from almaflow.records import ModelSpec, TargetSpec

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
class Outer:
    class Inner:
        def __init__(self, size=1):
            self.size = size

figure = 3
"""
EXITS = ", as a script does that reads the command line; put that under `if __name__ == '__main__':`"
WHAT_TO_DO = "; install it, or add its directory to PYTHONPATH"
PACKAGE = {
    "__init__.py": "",
    "good.py": GOOD,
    "needs.py": "import a_library_that_nobody_has\n",
    "broken.py": "1 / 0\n",
    "sibling.py": "from target_package.missing import thing\n",
    "lazy.py": "def __getattr__(name):\n    raise RuntimeError('needs an extra')\n",
    "script.py": "import argparse\nargparse.ArgumentParser().parse_args(['--nothing'])\n",
    "leaves.py": "import sys\ndef build():\n    sys.exit(3)\n",
    "raises.py": "def build(n):\n    raise ValueError('n is too\\nsmall')\n",
}


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "target_package"
    place.mkdir()
    for name, text in PACKAGE.items():
        (place / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("target_package")]:
        monkeypatch.delitem(sys.modules, name)


def test_functions_classes_and_nested_classes_are_called_with_their_arguments() -> None:
    inner = call_target(TargetSpec("target_package.good.Outer.Inner", {"size": 4}), "model")
    assert vars(inner) == {"size": 4}
    assert call_target(TargetSpec("collections.OrderedDict", {"a": 1}), "model") == {"a": 1}


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (
            "no_such_package.build",
            "cannot be imported (No module named 'no_such_package')" + WHAT_TO_DO,
        ),
        ("Model", "cannot be imported (No module named 'Model')" + WHAT_TO_DO),
        ("target_package.god.Outer", "target_package has no 'god'"),
        ("target_package.good.Outr", "target_package.good has no 'Outr'; nearest: Outer"),
        ("target_package.good.Outer.Iner", "Outer has no 'Iner'; nearest: Inner"),
        ("target_package.good.figure", "is a int, and must be a class or a function"),
        ("target_package.good", "is a module, and must be a class or a function"),
        (
            "target_package.needs.build",
            "cannot be imported (No module named 'a_library_that_nobody_has')" + WHAT_TO_DO,
        ),
        (
            "target_package.sibling.build",
            "cannot be imported (No module named 'target_package.missing')" + WHAT_TO_DO,
        ),
        ("target_package.broken.build", "importing it raised ZeroDivisionError: division by zero"),
        ("target_package.lazy.build", "importing it raised RuntimeError: needs an extra"),
        ("target_package.script.build", f"importing it exits the process (SystemExit: 2){EXITS}"),
        ("target_package.leaves.build", f"calling it exits the process (SystemExit: 3){EXITS}"),
        ("target_package.raises.build", "calling it with (n=1) raised ValueError: n is too small"),
        ("my-package/model.py", "is not an import path like my_package.my_module.MyModel"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(target: str, line: str) -> None:
    kwargs = {"n": 1} if target.endswith("raises.build") else {}
    with pytest.raises(UsageError) as caught:
        call_target(TargetSpec(target, kwargs), "model")
    assert str(caught.value) == f"model._target_={target}: {line}"


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(
        UsageError, match=r"calling it with \(width=2\) raised TypeError: .*unexpected keyword argument"
    ):
        call_target(TargetSpec("target_package.good.Outer.Inner", {"width": 2}), "model")


@given(st.text(max_size=20).filter(lambda text: not all(part.isidentifier() for part in text.split("."))))
def test_no_text_that_is_no_path_is_imported(text: str) -> None:
    with pytest.raises(UsageError, match="is not an import path"):
        call_target(TargetSpec(text), "model")


def test_a_function_that_is_no_builder_is_told_what_the_target_is_called_for() -> None:
    with pytest.raises(
        UsageError, match=r"^model\._target_=math\.sqrt: calling it with \(\) raised TypeError: "
    ) as caught:
        build_model(ModelSpec("root", target="math.sqrt"))
    assert str(caught.value).endswith(MUST_RETURN)
    with pytest.raises(UsageError) as caught:
        call_target(TargetSpec("math.sqrt"), "model.data_loader")
    assert MUST_RETURN not in str(caught.value)
