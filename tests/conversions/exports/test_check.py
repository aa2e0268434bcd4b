"""An export's check finds outputs that are not those of the example, whatever loads the model."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

X = np.arange(8, dtype=np.float32).reshape(2, 4)
LABELS = np.array([3, 1])
LOAD = """
import numpy as np
def load():
    def model(x):
        x = np.asarray(x)
        return {answer}
    return model
"""


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Check a folder whose model answers with an expression of ``x``; the example answers with ``2 * x`` and labels."""
    from almaflow.conversions.exports import check

    monkeypatch.setattr(check, "HERE", tmp_path)
    monkeypatch.setattr(check, "MOST_CALLS", 20)
    monkeypatch.setattr(sys, "path", list(sys.path))
    np.savez(tmp_path / "example.npz", input_0=X, output_0=2 * X, output_1=LABELS)

    def run(answer: str, *, comparable: bool = True) -> tuple[int, dict[str, Any]]:
        about = {
            "inputs": [{"name": "x"}],
            "outputs": [{"name": "logits"}, {"name": "labels"}],
            "tolerance_db": 90.0,
            "least_equal": 0.999,
            "comparable": comparable,
        }
        (tmp_path / "export.json").write_text(json.dumps(about), encoding="utf-8")
        (tmp_path / "load.py").write_text(LOAD.format(answer=answer), encoding="utf-8")
        sys.modules.pop("load", None)
        sys.path_importer_cache.clear()
        code = check.main()
        return code, json.loads(capsys.readouterr().out)

    return run


RIGHT = [
    '{"logits": 2 * x, "labels": np.array([3, 1])}',
    '{"labels": np.array([3, 1]), "logits": x + x}',
    "(2 * x, [3, 1][0] * 0 + np.array([3, 1]))",
    '{"logits": (2 + 2e-6) * x, "labels": np.array([3, 1])}',
]


@pytest.mark.parametrize("answer", RIGHT)
def test_equal_outputs_pass_in_any_order_and_within_the_tolerance(checked: Any, answer: str) -> None:
    code, found = checked(answer)
    assert (code, found["equal"], found["fault"]) == (0, True, None)
    assert 0 < found["floor_ms"] <= 1000 * found["first_call_s"] + 1000
    assert found["calls"] == 20
    assert (found["sqnr_db"] is None) == ("2e-6" not in answer)


WRONG = {
    '{"logits": 2.0003 * x, "labels": np.array([3, 1])}': "output logits: SQNR 76.5 dB, at least 90",  # as float16
    '{"logits": 2 * x * np.where(x == 7, -np.inf, 1), "labels": np.array([3, 1])}': (
        "output logits: infinities or NaN in other places"
    ),
    '{"logits": 2.1 * x, "labels": np.array([3, 1])}': "output logits: SQNR 26.0 dB, at least 90",
    '{"logits": 2 * x, "labels": np.array([3, 2])}': "output labels: 50.0% of the elements are equal",
    '{"logits": 2 * x[:1], "labels": np.array([3, 1])}': "output logits has the shape (1, 4), not (2, 4)",
    '{"logits": 2 * x / (x != 0), "labels": np.array([3, 1])}': "output logits: infinities or NaN in other places",
    "2 * x": "1 outputs, not 2",
    "(np.array([3, 1]), 2 * x)": "output logits has the shape (2,), not (2, 4)",
}


@pytest.mark.parametrize("answer", WRONG)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_other_outputs_are_told_with_what_is_wrong(checked: Any, answer: str) -> None:
    code, found = checked(answer)
    assert (code, found["fault"]) == (1, WRONG[answer])


def test_of_a_model_that_draws_at_random_only_the_shapes_are_compared(checked: Any) -> None:
    assert checked('{"logits": 5 * x, "labels": np.array([0, 0])}', comparable=False)[0] == 0
    assert checked('{"logits": x[0], "labels": np.array([0, 0])}', comparable=False)[0] == 1
