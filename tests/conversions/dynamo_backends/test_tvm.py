"""TVM takes tensors wherever they begin in memory."""

from __future__ import annotations

import pytest
import torch

from almaflow.conversions.dynamo_backends.tvm import ALIGNMENT, aligned


@pytest.mark.slow  # importing torch takes seconds
def test_only_tensors_that_tvm_would_refuse_are_copied() -> None:
    memory = torch.arange(64.0)
    assert aligned(memory) is memory
    for refused in (memory[1:], memory.view(8, 8).t(), memory[1:49].view(6, 8).t()):
        assert torch.equal(aligned(refused), refused)
        assert aligned(refused).is_contiguous()
        assert aligned(refused).data_ptr() % ALIGNMENT == 0
