"""The corpus by the product's own workers: what is said of each model is what is true of it by construction.

CI runs what is quick on every model, and what compiles on a few of each kind. ``tests.models.run_corpus`` has the rest.
Conversions that are broken on purpose are found, each on the models where it matters; right ones pass.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest
from tests.models.broken_conversions import BROKEN, PASSING, RIGHT, planned
from tests.models.corpus.every_example import CORPUS, KINDS, examples
from tests.models.corpus.example import OK, OK_WITH_NOTE, WRONG
from tests.models.corpus.families import PRELOAD
from tests.models.corpus_runner import run
from tests.models.corpus_table import untrue
from tests.models.run_corpus import cpu_plan
from tests.support.shared_home import shared_home

from almaflow.conversions.catalogue.plan import plan

if TYPE_CHECKING:
    from tests.models.corpus_runner import Examined

    from almaflow.records import PlannedConversion

QUICK = ("EAGER", "EXPORT+EAGER")
"""They take half a second of one processor, and all of the reference worker's findings."""
CONVERTERS = ("JIT_TRACE", "ONNX_CPU", "OPENVINO")
CONVERTED = (
    "rare_branch",
    "other_order",
    "dictionary",
    "subtracts",
    "permuted",
    "half_bfloat16",
    "top_k",
    "given_cache",
)
QUANTISERS = ("OPTIMUM_QUANTO_WI8", "TORCHAO_QUANT_INT8")
QUANTISED = ("elementwise", "hand_written", "lstm_head", "perceptron", "half_bfloat16")
COMPILERS = ("COMPILE_INDUCTOR_DEFAULT",)
COMPILED = ("counts", "heavy_part_outside")
SLOWER = {CONVERTERS: CONVERTED, QUANTISERS: QUANTISED, COMPILERS: COMPILED}
"""Slower conversions, and the models of each kind that go through them."""

FOUND = {WRONG, "unsupported"}
"""A branch that tracing froze is found before its outputs are compared."""
TYPES = ("float32", "int8")
"""The strictest tolerance, and that of INT8."""

Plans = dict[str, list["PlannedConversion"]]
"""The conversions of each model."""


def _cases(conversions: dict[str, tuple[str, ...]], types: tuple[str, ...]) -> Plans:
    plans: Plans = defaultdict(list)
    for name, models in conversions.items():
        for model in models:
            plans[model] += [planned(name, dtype) for dtype in types]
    return plans


def _catalogued() -> Plans:
    names = {each.name: list(QUICK) for each in examples("*")}
    for conversions, models in SLOWER.items():
        for each in examples(*models):
            names[each.name] += conversions
    return {model: list(cpu_plan(each)) for model, each in names.items()}


WRONG_ONES = _cases(BROKEN, TYPES)
RIGHT_ONES = _cases(dict.fromkeys(RIGHT, PASSING), ("float32",))


@pytest.fixture(scope="module")
def examined() -> list[Examined]:
    """All in one run: its server imports for ten seconds what the models need, and each has one reference worker."""
    plans = {
        model: [*each, *WRONG_ONES.get(model, ()), *RIGHT_ONES.get(model, ())] for model, each in _catalogued().items()
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALMAFLOW_HOME", str(shared_home()))
        return run(examples("*"), plans, preload=PRELOAD)


def test_the_corpus_has_every_kind() -> None:
    assert len(CORPUS) >= 60
    kinds = Counter(each.kind for each in CORPUS.values())
    assert min(kinds[kind] for kind in KINDS) >= 3
    assert kinds.keys() == KINDS.keys()


def test_rules_are_about_conversions_that_there_are() -> None:
    names = [each.name for each in plan(None, 3, "cpu", allow_device_override=False)]
    patterns = {pattern for each in CORPUS.values() for rule in each.rules for pattern in rule.conversions}
    assert {pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)} == set()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_is_said_of_every_model_is_true(examined: list[Examined]) -> None:
    catalogued = _catalogued()
    names = {model: [each.name for each in plans] for model, plans in catalogued.items()}
    of_catalogue = [each.only(names[each.example.name]) for each in examined]
    assert {each.example.name: [said.conversion for said in each.verdicts] for each in of_catalogue} == names
    assert untrue(of_catalogue) == []
    assert _wrong_traits(examined) == {}


def _wrong_traits(examined: list[Examined]) -> dict[str, dict[str, object]]:
    found = {each.example.name: each.example.wrong_traits(each.traits) for each in examined if each.traits}
    return {name: wrong for name, wrong in found.items() if wrong}


def _verdicts(cases: Plans, examined: list[Examined]) -> dict[tuple[str, str], str]:
    said = {(each.example.name, of.conversion): of.verdict for each in examined for of in each.verdicts}
    return {(model, each.name): said[model, each.name] for model, plan in cases.items() for each in plan}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_broken_conversion_is_found(examined: list[Examined]) -> None:
    found = _verdicts(WRONG_ONES, examined)
    assert {where: said for where, said in found.items() if said not in FOUND} == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_right_conversions_pass(examined: list[Examined]) -> None:
    found = _verdicts(RIGHT_ONES, examined)
    assert {where: said for where, said in found.items() if said not in {OK, OK_WITH_NOTE}} == {}
