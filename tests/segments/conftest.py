"""A session around what a test runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.recordings import calls_of

from almaflow.segments.session import ProfilingSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.records.profile import Profile


@pytest.fixture(name="record")
def record_fixture(tmp_path: Path) -> Callable[..., Profile]:
    def record(run: Callable[[], object], **settings: Any) -> Profile:
        session = ProfilingSession((), home=tmp_path, **settings)
        with session:
            run()
        assert session.profile is not None
        assert session.files.read() == session.profile
        assert sorted(session.files.calls(), key=lambda call: call.number) == calls_of(session)
        return session.profile

    return record
