"""What carries orders to machines and results back, one module each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

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
        UsageError: it needs a package that is not installed.
        AlmaflowError: the fleet cannot be reached.
    """
    if name == "local":
        from almaflow.fleet.engines.local import LocalEngine

        return LocalEngine()
    try:
        module = import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        message = f"fleet={name} needs Ray, which is not installed here: install almaflow with its extra {name}"
        raise UsageError(message) from error
    return cast("Engine", module.RayEngine(address, quota, user))
