"""Define the float form of a route that makes a model narrower: built when it is first called, and let go of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class FloatForm:
    """A call of the same route before quantisation, with which the quantised one can be compared."""

    open: Callable[[], Callable[..., Any]]
    """Builds the call."""
    _call: Callable[..., Any] | None = None

    def __call__(self, *inputs: Any) -> Any:
        """Call the float form, which is built by the first call."""
        if self._call is None:
            self._call = self.open()
        return self._call(*inputs)

    def close(self) -> None:
        """Let go of what the first call built; a later call builds it again."""
        self._call = None
