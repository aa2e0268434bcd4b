"""How things end."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """How a planned conversion ended."""

    OK = "ok"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


class FailureKind(StrEnum):
    """Why a conversion has no latency that may win."""

    MISSING_DEPENDENCY = "missing_dependency"
    UNSUPPORTED = "unsupported"
    ERROR = "error"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    WRONG_OUTPUT = "wrong_output"
    FELL_BACK = "fell_back"


class Resume(StrEnum):
    """What of a job is measured where the store has a part of it."""

    NO = "false"
    """All of it."""
    REST = "true"
    """What the store does not have."""
    FAILED = "failed"
    """What failed, and nothing else."""
