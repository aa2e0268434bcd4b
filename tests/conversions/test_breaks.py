"""What dynamo leaves to eager is counted and named; a compiler that runs nothing of the model has fallen back."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.conversion_child import in_child
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(TorchDispatchMode, "ignore_compile_internals"),
        reason="this PyTorch runs no compiled graph while operators are counted",
    ),
]


def in_child_breaks() -> dict[str, Any]:
    import torch
    from tests.support.example_models import MODELS

    from almaflow.conversions.built.breaks import breaks_evidence
    from almaflow.conversions.built.evidence import dynamo_graphs

    found = {}
    with torch.no_grad():
        for name in ("linear", "breaks", "body disabled", "all disabled"):
            torch._dynamo.reset()
            make, draw = MODELS[name]
            model, batch = make().eval(), draw(2)
            compiled = torch.compile(model, backend="aot_eager")
            compiled(*batch)
            graphs = dynamo_graphs()
            evidence = breaks_evidence(compiled, model, batch)
            found[name] = [evidence.outside_share, evidence.fell_back, list(evidence.notes), dynamo_graphs() - graphs]
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_breaks, tmp_path_factory.mktemp("breaks"))


def test_a_model_in_one_graph_has_nothing_outside(seen: dict[str, Any]) -> None:
    assert seen["linear"] == [0.0, None, [], 0]


def test_a_break_between_two_graphs_is_named_though_nothing_is_outside(seen: dict[str, Any]) -> None:
    share, fell_back, (note,), recompiled = seen["breaks"]
    assert (share, fell_back, recompiled) == (0.0, None, 0)
    assert "support/example_models.py:" in note
    assert "in forward: " in note
    assert note.endswith("0% of the FLOPs run outside of what was compiled")


def test_what_dynamo_may_not_enter_is_counted_and_named(seen: dict[str, Any]) -> None:
    share, fell_back, (note,), recompiled = seen["body disabled"]
    assert 0.99 < share < 1
    assert (fell_back, recompiled) == (None, 0)
    assert note.startswith("dynamo left 4 of 5 products to eager: support/example_models.py:")
    assert "(heavy)" in note
    assert "99." in note


def test_a_compiled_model_whose_work_is_all_outside_has_fallen_back(seen: dict[str, Any]) -> None:
    share, fell_back, notes, _ = seen["all disabled"]
    assert share > 0.99
    assert notes == []
    assert fell_back.startswith("dynamo left 4 of 4 products to eager")
