"""Calls between the processes of a fleet that Ray carries, with errors that say what to do."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from almaflow.errors import AlmaflowError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMESPACE = "almaflow"
BROKER = "broker"
CALL_S = 30.0
"""Seconds that a call may take. What carries bytes takes a few in each."""


def agent_name(machine_id: str) -> str:
    """Return the name of the agent of a machine."""
    return f"agent-{machine_id}"


def use_token(token: Path) -> None:
    """Let Ray in this process find the fleet's token: as a file, since others may read variables.

    Ray looks at the variables when it is imported.
    """
    if token.is_file() and "RAY_AUTH_TOKEN" not in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def load_ray() -> Any:
    """Import Ray.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        message = "Ray is not installed here: pip install -e '.[ray]' in almaflow's checkout, as on the head"
        raise UsageError(message) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def load_client() -> Any:
    """Import Ray as a client of a head, which does not print what the head prints.

    Raises:
        UsageError: it is not installed.
    """
    ray = load_ray()
    try:
        from ray.util.client.logsclient import LogstreamClient
    except ImportError as error:
        message = "Ray's client is not installed here: pip install -e '.[ray]' in almaflow's checkout"
        raise UsageError(message) from error
    logging.getLogger("ray.client_builder").setLevel(logging.ERROR)  # Ray sets its own logger's level again
    for name in ("log", "stdstream"):
        setattr(LogstreamClient, name, _keep_quiet)
    return ray


def _keep_quiet(_self: object, level: int, msg: str) -> None:
    """Ray says that both may be replaced; they print the head's lines among ours, on stdout too."""


def ask(actor: Any, name: str, *arguments: Any, timeout_s: float = CALL_S) -> Any:
    """Call an actor and wait for its answer.

    Raises:
        AlmaflowError: the error that it answered with, or it cannot be reached.
    """
    import ray

    try:
        return ray.get(getattr(actor, name).remote(*arguments), timeout=timeout_s)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AlmaflowError):
            raise error.cause from None
        raise
    except (ray.exceptions.RayError, ConnectionError) as error:
        message = f"no answer ({type(error).__name__})"
        raise AlmaflowError(message) from error


def why(error: BaseException) -> str:
    """Return what Ray's error means for who joins or uses a fleet: one line."""
    text = "\n".join(str(each) for each in _chain(error))
    return explain(text) or text.strip().splitlines()[-1]


def explain(text: str) -> str | None:
    """Return what Ray's text means, where that is known."""
    if "InvalidAuthToken" in text or "AuthenticationError" in text or "UNAUTHENTICATED" in text:
        return "the head refuses the token: copy the file that `almaflow fleet head` names, and give it by --token-file"
    if "ersion mismatch" in text:
        versions = [line.strip() for line in text.splitlines() if line.strip().startswith(("Ray:", "Python:"))]
        here = f" (head: {', '.join(versions[:2])}; here: {', '.join(versions[2:4])})" if len(versions) >= 4 else ""  # noqa: PLR2004 - two each
        return f"Ray and Python must be the same, to the patch level, as on the head{here}"
    if "ray client connection timeout" in text:  # Ray says no more where the token is another one
        return (
            "the head does not let this one in: the token of this home is not the head's, or the port after the "
            "head's is closed; copy the file that `almaflow fleet head` names to `fleet/token` in almaflow's home"
        )
    if "Timed out while waiting for GCS" in text or "Failed to connect to GCS" in text:
        return "no head of a fleet answers there"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
