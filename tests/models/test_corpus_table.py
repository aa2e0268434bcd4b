"""The corpus's own machinery: rules decide which verdicts are true, and the table shows those that are not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.models.corpus.every_example import CORPUS
from tests.models.corpus.example import Example, always_ok, may_be_wrong, never_ok, only_with_note
from tests.models.corpus_cover import covered, covering
from tests.models.corpus_runner import REFUSED, Examined, Verdict
from tests.models.corpus_table import counts, table, untrue
from tests.models.corpus_verdicts import Verdicts
from tests.models.run_corpus import write
from tests.support.example_jobs import planned

from almaflow.records import ModelSpec, ModelTraits

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import PlannedConversion

PLAIN = Example("line", "state", ModelSpec("line"))


def says(example: Example, verdict: str, conversion: str = "JIT_TRACE", dtype: str = "float32") -> bool:
    """Whether this verdict counts as true."""
    return not list(Examined(example, (Verdict(conversion, dtype, verdict, "in one line"),)).wrong())


@pytest.mark.parametrize("verdict", ["ok", "error", "unsupported", "fell_back"])
def test_what_is_honest_is_right_unless_a_rule_says_otherwise(verdict: str) -> None:
    assert says(PLAIN, verdict)
    assert says(PLAIN, verdict, "EAGER") is (verdict == "ok")
    assert says(replace(PLAIN, rules=(always_ok("JIT_*", why=""),)), verdict) is (verdict == "ok")
    assert says(replace(PLAIN, rules=(never_ok("*TRACE", why=""),)), verdict) is (verdict != "ok")
    assert says(replace(PLAIN, rules=(only_with_note("*", why=""),)), verdict) is (verdict != "ok")
    assert says(replace(PLAIN, rules=(never_ok("ONNX*", why=""),)), verdict)


@pytest.mark.parametrize("verdict", ["wrong_output", "crashed", "timeout", "out_of_memory", REFUSED])
def test_nothing_else_is_right(verdict: str) -> None:
    assert not says(PLAIN, verdict)
    assert says(replace(PLAIN, rules=(may_be_wrong("*", why=""),)), verdict) is (verdict == "wrong_output")
    assert says(PLAIN, verdict, dtype="int8") is (verdict == "wrong_output")


def test_a_model_that_is_to_be_refused_is_refused_for_that_reason() -> None:
    assert says(replace(PLAIN, refused="one line"), REFUSED)
    assert not says(replace(PLAIN, refused="two lines"), REFUSED)
    assert not says(replace(PLAIN, refused="one line"), "ok")


def test_traits_that_are_not_there_are_wrong_like_those_that_are_missing() -> None:
    keeps = replace(PLAIN, traits={"keeps_state": True, "dtype": "float32"})
    assert keeps.wrong_traits(ModelTraits(keeps_state=("calls",))) == {}
    assert keeps.wrong_traits(ModelTraits(dtype="float64", random=True)) == {
        "random": True,
        "keeps_state": (),
        "dtype": "float64",
    }


def test_the_table_marks_what_is_not_true(tmp_path: Path) -> None:
    verdicts = (Verdict("EAGER", "float32", "ok"), Verdict("JIT_TRACE", "float32", "wrong_output", "too far"))
    examined = [Examined(PLAIN, verdicts)]
    assert table(examined).splitlines()[-1] == "line  . W!"
    assert counts(examined).splitlines()[-1] == "| `JIT_TRACE` |  | 1 |"
    assert untrue(examined) == ["  line JIT_TRACE: wrong_output: too far"]
    path = tmp_path / "models.md"
    path.write_text("before\n<!-- the corpus begins -->\nold\n<!-- the corpus ends -->\nbehind\n", encoding="utf-8")
    write(path, examined)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- the corpus begins -->\n")
    assert text.endswith("<!-- the corpus ends -->\nbehind\n")
    assert "line  . W!" in text
    assert "old" not in text


def test_a_long_run_can_be_cut_into_short_ones(tmp_path: Path) -> None:
    path, lstm, gru = tmp_path / "verdicts.json", CORPUS["lstm"], CORPUS["gru"]
    first, later = (Verdict("JIT_TRACE", "float32", said, "", ("a note",)) for said in ("error", "ok"))
    eager = Verdict("EAGER", "float32", "ok")
    Verdicts(path).add(Examined(lstm, (first,)))
    Verdicts(path).add(Examined(gru, (first,)))
    Verdicts(path).add(Examined(lstm, (later, eager)))
    kept = Verdicts(path).examined()
    assert [(each.example, each.verdicts) for each in kept] == [(lstm, (eager, later)), (gru, (first,))]
    assert table(kept).splitlines()[-2:] == ["lstm  . .", "gru     e!"]


def conversion(name: str, family: str) -> PlannedConversion:
    return replace(planned(name), family=family)


def test_each_model_meets_each_family_and_each_conversion_each_kind() -> None:
    plan = [conversion("EAGER", "eager")]
    plan += [conversion(name, "torchscript") for name in ("JIT_TRACE", "TORCH_SCRIPT", "BF16+JIT_TRACE")]
    examples = [replace(PLAIN, name=f"{kind} {i}", kind=kind) for kind, i in (("a", 1), ("a", 2), ("b", 1))]
    chosen = covering(examples, plan, {})
    for each in examples:
        assert {"EAGER"} < {planned.name for planned in chosen[each.name]}
    for kind in "ab":
        met = {planned.name for each in examples if each.kind == kind for planned in chosen[each.name]}
        assert met == {each.name for each in plan}
    assert sum(map(len, chosen.values())) == 2 + 3 + 1 + 3
    said = {name: {each.name for each in row} for name, row in chosen.items()}
    assert covering(examples, plan, said) == {each.name: [] for each in examples}
    said["a 1"].discard("EAGER")
    assert {name: [each.name for each in row] for name, row in covering(examples, plan, said).items() if row} == {
        "a 1": ["EAGER"]
    }
    assert "Of 6 pairs of a model and a family of conversions 5 were run" in covered(examples, plan, said)
