"""Errors that a user can do something about. The message of each is one line that says what to do next."""

from __future__ import annotations

from almaflow.secrets import mask, printable

ALERT = 3
"""The exit code of an alert that was asked for, and of limits that nothing meets."""


def shortened(text: str, length: int) -> str:
    """Cut a line to ``length`` characters, between two words where there is a blank in its second half."""
    if len(text) <= length:
        return text
    kept = text[: length - 3]
    blank = kept.rfind(" ")
    return (kept[:blank] if 2 * blank >= length else kept) + "..."


class AlmaflowError(Exception):
    """The job failed for a reason that its user can act on (exit code 1).

    Its message often repeats what a user, a library or a store said: secrets in it are masked.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(mask(message)))


class UsageError(AlmaflowError):
    """The input is wrong: nothing was run and nothing was logged (exit code 2)."""

    exit_code = 2


class TrackingError(AlmaflowError):
    """The MLflow store cannot be reached or written; what was measured is kept on disk."""


class RecordError(AlmaflowError, ValueError):
    """A file that almaflow keeps is damaged, or another version of almaflow wrote it in a form that is unknown here."""
