"""Records with one value changed, left out or of another type, as an editor, a disk or another version leaves them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from almaflow.records import stamp, to_dict

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn, record: object) -> dict[str, Any]:
    """The record as it would be written, but for one place at any depth."""
    changed = {**stamp(), **to_dict(record)}
    inner: Any = changed
    while True:
        key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not inner[key] or not isinstance(inner[key], dict | list | tuple) or draw(st.booleans()):
            break
        inner[key] = inner = list(inner[key]) if isinstance(inner[key], tuple) else inner[key]
    if isinstance(inner, dict) and draw(st.booleans()):
        del inner[key]
    else:
        inner[key] = draw(ANYTHING)
    return changed
