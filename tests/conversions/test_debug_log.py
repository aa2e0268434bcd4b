"""What a worker's log has with ``measure.log_level=DEBUG``."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.conversions.build import _log_compiling

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def logs() -> Iterator[Any]:
    """PyTorch's logging, put back afterwards."""
    module = importlib.import_module("torch._logging")
    locks = logging.getLogger("filelock")
    before = locks.level
    yield module
    module.set_logs()
    locks.setLevel(before)


def test_graphs_breaks_and_recompilations_are_logged_and_locks_are_not(logs: Any) -> None:
    state = logs._internal.log_state
    wanted = ("graph_code", "graph_breaks", "recompiles")
    assert [name for name in wanted if state.is_artifact_enabled(name)] == []
    _log_compiling()
    assert [name for name in wanted if state.is_artifact_enabled(name)] == [*wanted]
    assert not logging.getLogger("filelock").isEnabledFor(logging.DEBUG)
