"""What torch.compile really did, and what ran eagerly instead, is read from dynamo."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.conversion_child import convert, in_child

pytestmark = [pytest.mark.slow, pytest.mark.alma]


def in_child_compile() -> dict[str, Any]:
    """Compilations that work, that break, that dynamo refuses, and that fail for want of a compiler."""
    import torch._dynamo
    from torch._inductor import config

    default = "COMPILE_INDUCTOR_DEFAULT"
    found = {
        "whole": convert(default, "linear"),
        "again": convert(default, "linear"),
        "breaks": convert(default, "breaks"),
        "uncompilable": convert(default, "uncompilable"),
        "restless": convert(default, "restless"),
        "exported": convert("EXPORT+COMPILE_INDUCTOR_DEFAULT", "linear"),
    }
    with torch._dynamo.config.patch(recompile_limit=2):
        found["too restless"] = convert(default, "restless")
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        # Additions need a compiler, where a product alone is a call of a library.
        found["no compiler"] = convert(default, "no weights")
        found["no compiler, fallback"] = convert("COMPILE_INDUCTOR_EAGER_FALLBACK", "no weights")
        found["no compiler, exported, fallback"] = convert(
            "EXPORT+COMPILE_INDUCTOR_DEFAULT_EAGER_FALLBACK", "no weights"
        )
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_compile, tmp_path_factory.mktemp("dynamo"), fresh=True)


def test_what_compiles_whole_is_one_graph_with_or_without_an_export_before(seen: dict[str, Any]) -> None:
    for case in ("whole", "again", "exported"):
        assert seen[case]["failure"] is None
        assert seen[case]["right"]
        assert seen[case]["fell_back"] is None
        assert seen[case]["recompiles"] == 0
        assert seen[case]["runtime"]["dynamo_graphs"] == "1", case
        assert seen[case]["runtime"]["graph_breaks"] == "0"


def test_whether_the_compilation_came_from_the_cache_is_told(seen: dict[str, Any]) -> None:
    assert seen["whole"]["runtime"]["compile_cache"] == "miss"
    assert seen["again"]["runtime"]["compile_cache"] == "hit"


def test_graph_breaks_are_counted(seen: dict[str, Any]) -> None:
    assert seen["breaks"]["runtime"]["graph_breaks"] == "1"
    assert seen["breaks"]["runtime"]["dynamo_graphs"] == "2"
    assert seen["breaks"]["fell_back"] is None


def test_a_model_that_dynamo_captures_nothing_of_ran_eagerly(seen: dict[str, Any]) -> None:
    assert seen["uncompilable"]["right"]
    assert seen["uncompilable"]["runtime"]["dynamo_graphs"] == "0"
    assert "dynamo compiled no graph" in seen["uncompilable"]["fell_back"]


def test_recompiles_in_timed_calls_are_counted(seen: dict[str, Any]) -> None:
    assert seen["restless"]["right"]
    assert seen["restless"]["recompiles"] == 4  # one for each of the four calls
    assert seen["restless"]["fell_back"] is None


def test_what_dynamo_gives_up_compiling_anew_ran_eagerly(seen: dict[str, Any]) -> None:
    assert seen["too restless"]["right"]
    assert "eager ran" in seen["too restless"]["fell_back"]


def test_a_failed_compilation_is_a_failure_and_a_suppressed_one_a_fall_back(seen: dict[str, Any]) -> None:
    assert seen["no compiler"]["failure"] == "missing_dependency"
    assert "no-such-compiler" in seen["no compiler"]["message"]
    for case in ("no compiler, fallback", "no compiler, exported, fallback"):
        assert seen[case]["failure"] is None
        assert seen[case]["right"]  # right, but eager's
        assert "eager ran" in seen[case]["fell_back"], case
