"""A model is told from another one by what it is, and from itself never."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.own_models import Identified

from almaflow.models.build import build_example, weights_digest
from almaflow.models.counting import count
from almaflow.models.digests import digests_of_built, digests_of_called
from almaflow.models.facts import Facts, is_by_value
from almaflow.records import InputSpec, ModelSpec, TargetSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.alma

OWN = ModelSpec("own", target="tests.support.own_models.Identified", inputs=(InputSpec((4,)),), batch_size=2)
LOADER = TargetSpec("tests.support.own_models.numbered_batches")
BUILT_IN = ModelSpec("simple", target="almaflow.models.simple.SimpleCNN", inputs=(InputSpec((3, 32, 32)),))


def digests(spec: ModelSpec) -> dict[str, str]:
    """As the reference worker takes them."""
    made = build_example(spec, 2)
    built = digests_of_built(spec, made.model, weights_digest(made.model), made.batches, made.form)
    with torch.no_grad():
        made.model(*made.batches[0])
    return built | digests_of_called(spec, made.model, count(made.model, made.batches[0], spec.batch_size))


@cache
def of_own() -> dict[str, str]:
    return digests(OWN)


def differing(first: dict[str, str], second: dict[str, str]) -> set[str]:
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({}, set()),
        ({"name": "another", "directory": "/"}, set()),
        ({"kwargs": {"fill": 2.0}}, {"weights"}),
        ({"kwargs": {"scale": 2.0}}, {"attributes"}),
        ({"kwargs": {"table": [1.0, 3.0]}}, {"attributes"}),
        ({"kwargs": {"hidden": 2.0}}, {"attributes"}),  # a module in a plain list
        ({"kwargs": {"repeats": 3}}, {"attributes", "operations"}),
        ({"inputs": (InputSpec((4,), name="x"),)}, set()),  # where it is given anyway
        ({"inputs": (InputSpec((4,), name="y"),)}, {"attributes", "inputs", "weights"}),  # called in another way
        ({"inputs": (InputSpec((4,), dtype="int64", high=9),)}, {"inputs", "operations"}),
        ({"seed": 1}, {"inputs"}),
        ({"data_loader": LOADER}, {"inputs"}),
    ],
)
def test_each_change_of_an_own_model_is_told(changed: dict[str, Any], what: set[str]) -> None:
    assert differing(of_own(), digests(replace(OWN, **changed))) == what


def test_every_batch_of_a_loader_counts() -> None:
    loaders = (TargetSpec(LOADER.target, {"last": last}) for last in (1.0, 2.0))
    one, other = (digests(replace(OWN, data_loader=loader)) for loader in loaders)
    assert differing(one, other) == {"inputs"}


def test_of_random_inputs_it_does_not_matter_how_many_there_are() -> None:
    made = build_example(OWN, 4)
    few, many = (digests_of_built(OWN, made.model, "w", made.batches[:count], made.form) for count in (2, 4))
    assert few == many


def test_a_file_that_an_argument_names_counts_with_its_content(tmp_path: Path) -> None:
    spec = replace(OWN, directory=str(tmp_path), kwargs={"note": "weights.bin"})
    found = []
    for content in (None, b"1", b"2", b"1"):
        if content:
            (tmp_path / "weights.bin").write_bytes(content)
        found.append(digests(spec).get("files"))
    assert found[0] is None
    assert found[1] == found[3] != found[2]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_built_in_model_with_random_inputs_is_known_by_its_name(seed: int) -> None:
    """So that figures of different seeds, and those of an older almaflow, can be compared."""
    assert digests(replace(BUILT_IN, seed=seed)) == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": (InputSpec((3, 32, 32), name="images"),)},
        {"data_loader": TargetSpec(LOADER.target, {"shape": [1, 3, 32, 32]}), "batch_size": 1},
    ],
)
def test_inputs_of_the_users_own_count_of_a_built_in_model_too(changed: dict[str, Any]) -> None:
    assert set(digests(replace(BUILT_IN, **changed))) == {"inputs"}


NET = """
import functools
LIMIT = 3
class Base: pass
def helper(x): return x + 1
def wrapped(f):
    @functools.wraps(f)
    def inner(*a): return f(*a)
    return inner
class Net(Base):
    size: int = 4
    def __init__(self, n=1): self.n = n
    @wrapped
    def forward(self, x): return helper(x) if x in {"a", "b"} else LIMIT
    @property
    def twice(self): return [y * 2 for y in (1, 2)]
"""


def by_value(text: str) -> type:
    """The class as a script or a notebook defines it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "somewhere.py", "exec"), names)  # noqa: S102 - what a notebook does
    kind = names["Net"]
    assert isinstance(kind, type)
    return kind


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("class Net", "# a comment\n\nclass Net", True),
        ("class Net", "unused = 1\nclass Net", True),
        ("x + 1", "x + 2", False),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("n=1", "n=2", False),
        ("y * 2", "y * 3", False),
        ("size: int = 4", "size: int = 5", False),
        ('"b"', '"c"', False),
        ("class Base: pass", "class Base: width = 1", False),
        ("return f(*a)", "return f(*a, 1)", False),
    ],
)
def test_a_class_without_a_module_is_known_by_its_code(old: str, new: str, same: bool) -> None:
    one, other = by_value(NET), by_value(NET.replace(old, new))
    assert is_by_value(one)
    assert not is_by_value(Identified)
    assert (Facts().of(one) == Facts().of(other)) == same


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
values = st.recursive(
    plain | st.sets(st.integers(), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_equal_values_have_equal_facts(value: object) -> None:
    assert Facts().of(copy.deepcopy(value)) == Facts().of(value)


@given(values, values)
def test_different_values_have_different_facts(one: object, other: object) -> None:
    assert (Facts().of(one) == Facts().of(other)) == (repr_of(one) == repr_of(other))


def repr_of(value: object) -> str:
    """Which tells 0 from False and -0.0, without the order in which sets and dictionaries are told."""
    if isinstance(value, set):
        return f"set {sorted(value)}"
    if isinstance(value, dict):
        return f"dict {sorted((key, repr_of(each)) for key, each in value.items())}"
    return f"list {[repr_of(each) for each in value]}" if isinstance(value, list) else repr(value)


def _raises(_: object) -> None:
    raise RuntimeError


@pytest.mark.parametrize(
    ("make", "same"),
    [
        (object, True),
        (lambda: SimpleNamespace(a=[1]), True),
        (lambda: partial(max, 1, key=len), True),
        (lambda: torch.ones(2, dtype=torch.bfloat16), True),
        (lambda: torch.nn.Linear(1, 1), False),  # random weights
        (type("Strange", (list,), {"__len__": _raises}), True),
    ],
)
def test_every_kind_of_value_has_facts(make: Callable[[], object], same: bool) -> None:
    holds_itself = [make()]
    holds_itself.append(holds_itself)
    assert Facts().of(holds_itself)
    assert (Facts().of(make()) == Facts().of(make())) == same
