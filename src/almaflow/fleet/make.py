"""Makes an order of a validated configuration. All that can be checked without its machine is checked here."""

from __future__ import annotations

import getpass
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.config.schema import FleetEngine
from almaflow.config.validation import plain
from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.orders import key_of
from almaflow.jobs.request import kept_config, make_request
from almaflow.jobs.tasks import new_job_id
from almaflow.measure.progress import Progress
from almaflow.records import Resume
from almaflow.records.clock import now
from almaflow.records.kept_order import KeptOrder
from almaflow.records.order import Blob, Order
from almaflow.secrets import mask
from almaflow.tracking.history import past_of
from almaflow.tracking.reader import job_times
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.config.schema import JobConfig
    from almaflow.jobs.request import Request
    from almaflow.records import ModelSpec, PastMeasurement

ANY_MACHINE = frozenset({None, "auto"})
"""Choices of ``hardware`` that every machine matches."""

FILES = ("weights", "pickle_path", "batches_path")
"""Fields of a model's record that name files."""

OWN = ("tracking", "fleet")
"""Sections of a configuration that say what the coordinator does, and no machine learns."""


@dataclass(frozen=True)
class Made:
    """An order that can be sent, with the files of its blobs."""

    kept: KeptOrder
    job: JobConfig
    request: Request
    """What the job is, as far as this machine can tell: its hardware need not be here."""
    files: dict[str, Path] = field(default_factory=dict)
    """By their sha256."""


def make_order(  # noqa: PLR0913 - a job, and what it belongs to
    job: JobConfig,
    *,
    kind: str | None,
    warn: Callable[[str], None],
    sweep_id: str | None = None,
    profile_id: str | None = None,
    number: int = 0,
    model: ModelSpec | None = None,
) -> Made:
    """Make the order of a job; nothing is sent or written.

    Args:
        job: A validated configuration that names a fleet.
        kind: The choice of its ``hardware``.
        warn: Shows that the store cannot be asked for what predictors learn from.
        sweep_id: The sweep that it belongs to.
        profile_id: The profile whose segment it measures.
        number: Its position there.
        model: Takes the place of the configuration's model, for a caller that has one in hand and wrote it to files.

    Raises:
        UsageError: something in the configuration is wrong, or must not be sent.
    """
    fleet = job.fleet
    check_address(job)
    if Resume(str(job.resume).lower()) is Resume.FAILED:
        message = "resume=failed: a machine of a fleet does not see the store; take resume=true, or fleet=none"
        raise UsageError(message)
    request = make_request(job, sweep_id=sweep_id, model=model, here=False)
    blobs, files = _blobs(request.model)
    made_at = now()
    order = Order(
        order_id=new_job_id(made_at),
        user=fleet.user or account(),
        kind=None if kind in ANY_MACHINE else kind,
        configuration=_sent(job),
        number=number,
        sweep_id=sweep_id,
        profile_id=profile_id,
        machine_id=fleet.machine,
        environment=fleet.environment,
        model=_without_places(model) if model else None,
        blobs=blobs,
        past=_past(request, kind, warn),
        expected_s=_expected_s(request),
        time_limit_s=fleet.time_limit_s,
    )
    store = display_uri(request.uri)
    kept = KeptOrder(
        order=order,
        key=key_of(order, store, request.experiment_name),
        engine=str(fleet.engine),
        address=fleet.address,
        store=store,
        experiment_name=request.experiment_name,
        config=kept_config(job),
        model=mask(request.model),
        made_at=made_at,
    )
    return Made(kept, job, request, files)


def check_address(job: JobConfig) -> None:
    """Refuse a fleet whose head is not named.

    Raises:
        UsageError: so it is.
    """
    if job.fleet.engine is FleetEngine.ray and not job.fleet.address:
        message = "fleet.address is required with fleet=ray: HOST:PORT, as `almaflow fleet head` prints it"
        raise UsageError(message)


def account() -> str:
    """Return the name of the account; a container may run as a number that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _without_places(model: ModelSpec) -> ModelSpec:
    """Return a model's record without paths of this machine; its files are blobs."""
    return replace(model, weights=None, pickle_path=None, batches_path=None, directory=None)


def _sent(job: JobConfig) -> dict[str, Any]:
    """Return the configuration that a machine gets.

    Raises:
        UsageError: it holds a secret.
    """
    config = {name: value for name, value in plain(job).items() if name not in OWN}
    config |= {"output": None, "resume": False, "strict": False}
    config["model"] = {**config["model"], "weights": None}
    if (setting := _secret_in(config)) is not None:
        message = f"the secret in {setting} is not sent to a machine; let it be set there, or take fleet=none"
        raise UsageError(message)
    return config


def _secret_in(config: Any, above: str = "") -> str | None:
    """Return the setting that holds a secret; None where none does."""
    if mask(config) == config:
        return None
    for name, value in config.items() if isinstance(config, dict) else ():
        setting = f"{above}.{name}" if above else str(name)
        if mask({name: value}) != {name: value}:
            return _secret_in(value, setting) or setting
    return above or None


def _blobs(model: ModelSpec) -> tuple[dict[str, Blob], dict[str, Path]]:
    """Return the files that the order needs, by the field that names them, and their paths by digest.

    Raises:
        UsageError: one cannot be read.
    """
    blobs: dict[str, Blob] = {}
    files: dict[str, Path] = {}
    for name, value in ((each, getattr(model, each)) for each in FILES):
        if value is None:
            continue
        path = Path(value)
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            message = f"model.{name}={value}: cannot be read ({error.strerror})"
            raise UsageError(message) from error
        blobs[name], files[digest] = Blob(digest, path.stat().st_size), path
    return blobs, files


def _past(request: Request, kind: str | None, warn: Callable[[str], None]) -> tuple[PastMeasurement, ...]:
    """Return what predictors may learn from on the machine; nothing where the store does not answer."""
    try:
        hardware = None if kind in ANY_MACHINE else request.hardware.name
        return past_of(request.uri, request.experiment_name, request.model, hardware)
    except AlmaflowError as error:
        warn(f"{error}; the order goes without what predictors may learn from")
        return ()


def _expected_s(request: Request) -> float | None:
    """Return about how long the job takes, from earlier ones of its model, batch size and tier."""
    try:
        history = job_times(request.uri, request.experiment_name)
    except AlmaflowError:  # an estimate is not worth a warning
        return None
    return history.get((request.model.name, str(request.model.batch_size), str(request.tier)))


def prepare_store(request: Request) -> None:
    """Make the store ready before anything is sent, where it answers.

    Raises:
        TrackingError: a store on this machine is broken; another one may come back.
        UsageError: the experiment was deleted.
    """
    from almaflow.jobs.store import JobStore

    JobStore(request.uri, Progress()).prepare(request.experiment_name)
