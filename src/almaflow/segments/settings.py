"""Checks the settings of a session, before the application runs."""

from __future__ import annotations

from almaflow.errors import UsageError

INPUTS = ("real", "permuted", "zeros")


def check_counts(**settings: object) -> None:
    """Check settings that count something.

    Raises:
        UsageError: one is no whole number from 1 on.
    """
    for name, value in settings.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            message = f"{name}={value!r}: take a whole number from 1 on"
            raise UsageError(message)


def check_inputs(kind: str) -> None:
    """Check what is to be kept of inputs.

    Raises:
        UsageError: there is no such kind.
    """
    if kind not in INPUTS:
        message = f"inputs={kind!r}: take one of {', '.join(INPUTS)}"
        raise UsageError(message)
