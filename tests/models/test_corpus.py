"""The corpus by the product's own workers: what is said of each model is what is true of it by construction.

CI runs what is quick on every model, and what compiles on a few of each kind. ``tests.models.run_corpus`` has the rest.
"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest
from tests.models.corpus.every_example import CORPUS, KINDS, examples
from tests.models.corpus.families import PRELOAD
from tests.models.corpus_runner import run
from tests.models.corpus_table import untrue
from tests.models.run_corpus import cpu_plan

from almaflow.conversions.catalogue.plan import plan

if TYPE_CHECKING:
    from tests.models.corpus_runner import Examined

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
def test_what_is_said_of_every_model_is_true() -> None:
    """In one run, since its servers import for ten seconds what the models need."""
    names = {each.name: list(QUICK) for each in examples("*")}
    for conversions, models in SLOWER.items():
        for each in examples(*models):
            names[each.name] += conversions
    plans = {model: cpu_plan(each) for model, each in names.items()}
    examined = run(examples("*"), plans, jobs=2, preload=PRELOAD)
    assert {each.example.name: {said.conversion for said in each.verdicts} for each in examined} == {
        model: set(each) for model, each in names.items()
    }
    assert untrue(examined) == []
    assert _wrong_traits(examined) == {}


def _wrong_traits(examined: list[Examined]) -> dict[str, dict[str, object]]:
    found = {each.example.name: each.example.wrong_traits(each.traits) for each in examined if each.traits}
    return {name: wrong for name, wrong in found.items() if wrong}
