"""An MLflow run-context provider: the ``env.*`` tags on every run of a user's own script, where that is asked for.

MLflow makes one of these at its own import, in every script of the environment, and asks it whenever a run is started
by ``mlflow.start_run``. So nothing is imported here, and nothing that goes wrong may reach the script.
"""

from __future__ import annotations

import os

SWITCH = "ALMAFLOW_ENV_TAGS"
ON = {"1", "true", "yes", "on"}


class EnvironmentTags:
    """The ``RunContextProvider`` that MLflow asks whether a run gets tags, and which."""

    def in_context(self) -> bool:
        """Return whether the environment variable ``ALMAFLOW_ENV_TAGS`` is on."""
        return os.environ.get(SWITCH, "").strip().lower() in ON

    def tags(self) -> dict[str, str]:
        """Return the machine and the versions, named as on almaflow's own runs; nothing where that fails."""
        try:
            from almaflow import machine

            return {f"env.{name}": value for name, value in machine.environment().items()}
        except Exception:  # noqa: BLE001 - a tag is never worth a user's training run
            return {}
