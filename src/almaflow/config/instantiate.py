"""Makes the objects that a configuration names by ``_target_``, by Hydra's rules for nested and partial ones."""

from __future__ import annotations

from typing import Any

from almaflow.errors import AlmaflowError, UsageError


def instantiate(entry: dict[Any, Any], key: str) -> Any:
    """Make the object that an entry of the configuration names.

    Args:
        entry: What stands under the key, with its ``_target_``.
        key: The key, for the message.

    Raises:
        UsageError: it cannot be imported or made.
        AlmaflowError: the error of almaflow's own that making it raised.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as make

    try:
        return make(entry)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, AlmaflowError):
            raise cause from error
        first = str(cause).strip().partition("\n")[0]
        message = f"{key}: {entry['_target_']} cannot be made ({type(cause).__name__}: {first})"
        raise UsageError(message) from error
