"""The sizes that ``almaflow models`` shows are those that PyTorch counts."""

from __future__ import annotations

import pytest
from tests.support.model_sizes import size_of, spec_of

from almaflow.config import files


def test_every_model_that_is_complete_has_a_size_and_no_other() -> None:
    complete = {name for name, each in files.choices("model").items() if each.get("arch") or each.get("_target_")}
    assert set(files.model_sizes()) == complete - {"yolo"}  # whose library is under the AGPL, and not installed here
    assert all(size["parameters"] > 0 < size["gflops"] for size in files.model_sizes().values())


@pytest.mark.alma
@pytest.mark.parametrize("name", ["simple", "resnet18"])
def test_the_sizes_are_counted(name: str) -> None:
    spec = spec_of(name)
    assert spec
    assert files.model_sizes()[name] == pytest.approx(size_of(spec), rel=1e-3)
