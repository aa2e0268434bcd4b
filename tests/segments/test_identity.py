from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from almaflow.models.graph_code import GraphCode
from almaflow.records.profile import Ambient, SegmentTensor
from almaflow.segments.capture import Place
from almaflow.segments.identity import qualified
from almaflow.segments.standalone import Standalone

if TYPE_CHECKING:
    from collections.abc import Callable


def made(source: str) -> Callable[..., Any]:
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - functions that differ in one thing
    function: Callable[..., Any] = names["f"]
    return function


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(x): return x * 2.0", "def f(x): return x * 3.0"),
        ("def f(x): return x.sin()", "def f(x): return x.cos()"),
        ("def f(x): return [y * 2 for y in x]", "def f(x): return [y * 3 for y in x]"),
        ("def f(x): return (lambda y: y + 4)(x)", "def f(x): return (lambda y: y + 5)(x)"),
    ],
)
def test_functions_that_do_something_else_are_told_apart(one: str, other: str) -> None:
    assert qualified(made(one)) == qualified(made(one))
    assert qualified(made(one)) != qualified(made(other))


def test_a_set_of_constants_has_one_digest_in_all_processes() -> None:
    sets = [", ".join(map(repr, each)) for each in ("abcdefgh", "hgfedcba")]
    first, second = (f"def f(x): return x in {{{each}}}" for each in sets)
    assert qualified(made(first)) == qualified(made(second))


def test_a_family_has_one_type_one_device_and_one_setting() -> None:
    place = Place("app.py", 3, "predict")

    def family(shape: tuple[int, ...], dtype: str = "float32", device: str = "cpu", **ambient: Any) -> str:
        alone = Standalone(GraphCode("", {}, {}, {}), {"w": torch.ones(2)}, (0,), (0,), (None,), ["add"])
        return alone.family_id(place, [SegmentTensor(shape, dtype, (1,), device)], Ambient(**ambient))

    assert family((2,)) == family((3,))
    others = [
        family((2,), "bfloat16"),
        family((2,), device="cuda"),
        family((2,), autocast={"cpu": "bfloat16"}),
        family((2,), grad=True),
    ]
    assert len({family((2,)), *others}) == 5
