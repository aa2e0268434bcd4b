"""A job's configuration composed inside a program, which may itself be a Hydra application."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import hydra
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase

from almaflow.config.explain import explain
from almaflow.config.files import conf_dir
from almaflow.config.overrides import as_hydra_reads
from almaflow.config.store import SCHEMA, register
from almaflow.config.validation import validate
from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from almaflow.config.schema import JobConfig


def compose(overrides: Sequence[str]) -> JobConfig:
    """Return the validated configuration of ``almaflow run`` with these overrides; a later one wins.

    Raises:
        UsageError: one line with the key, its value and what it has to be.
    """
    try:
        with _own_hydra(), initialize_config_dir(str(conf_dir()), job_name="almaflow", version_base="1.3"):
            return validate(hydra.compose("config", as_hydra_reads(overrides)))
    except Exception as error:
        usage_error = explain(error)
        if usage_error is None:
            raise
        # The cause would show a secret wherever a traceback is printed.
        raise usage_error from (error if mask(str(error)) == str(error) else None)


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Set aside what Hydra keeps for the whole process, and bring it back: the application around us may use it."""
    application, version, store = GlobalHydra.instance(), VersionBase.instance(), ConfigStore.instance()
    hydra_before, base_before, schema_before = application.hydra, version.getbase(), store.repo.get(f"{SCHEMA}.yaml")
    application.clear()
    try:
        register()
        yield
    finally:
        application.hydra = hydra_before
        GlobalHydra.set_instance(application)  # leaving `initialize_config_dir` puts a copy in its place
        version.version_base = base_before
        if schema_before is not None:
            store.repo[f"{SCHEMA}.yaml"] = schema_before
