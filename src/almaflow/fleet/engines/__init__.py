"""What carries orders to machines and results back, one module each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from almaflow.fleet.engine import Engine


def open_engine(name: str, address: str | None, quota: int | None, user: str) -> Engine:
    """Return the engine of a fleet.

    Args:
        name: ``local`` or ``ray``.
        address: HOST:PORT of the head, for those that have one.
        quota: Machines that the user's orders hold at once; None: any number.
        user: The user's name in the queue.

    Raises:
        UsageError: there is no such engine here.
        AlmaflowError: the fleet cannot be reached.
    """
    if name == "local":
        from almaflow.fleet.engines.local import LocalEngine

        return LocalEngine()
    if name == "ray":
        from almaflow.fleet.engines.ray import RayEngine

        return RayEngine(address, quota, user)
    message = f"fleet={name}: there is no such engine; choose local or ray"
    raise UsageError(message)
