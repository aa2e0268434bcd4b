"""The statuses and failures of conversions, and the modes of resuming a job."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The status in which a planned conversion ended."""

    OK = "ok"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


class FailureKind(StrEnum):
    """The reason why a conversion has no latency that may win."""

    MISSING_DEPENDENCY = "missing_dependency"
    UNSUPPORTED = "unsupported"
    ERROR = "error"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    WRONG_OUTPUT = "wrong_output"
    FELL_BACK = "fell_back"
    MACHINE = "machine"
    """The machine's own trouble, such as a full disk, which says nothing about the conversion."""


class Resume(StrEnum):
    """The part of a job that is measured when the store already has some of it."""

    NO = "false"
    """Measure all of it."""
    REST = "true"
    """Measure what the store does not have."""
    FAILED = "failed"
    """Measure what failed, and nothing else."""
