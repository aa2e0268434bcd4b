"""Takes a job's directory from a machine into almaflow's home, and records it as ``almaflow sync`` records jobs."""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from almaflow import machine
from almaflow.errors import AlmaflowError, RecordError, TrackingError, UsageError
from almaflow.fleet.durable import sync_directory, sync_tree
from almaflow.fleet.orders import newest
from almaflow.fleet.run_order import JOB
from almaflow.jobs.artifacts import write_reproduction
from almaflow.jobs.files import JobFiles
from almaflow.jobs.sync import write_to_store
from almaflow.machine.directory_lock import BusyError
from almaflow.records import Job, read_json, write_json
from almaflow.records.kept_order import Kept
from almaflow.secrets import MASK, PRIVATE
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from almaflow.records.kept_order import KeptOrder


def job_files(kept: KeptOrder) -> JobFiles:
    """Return the files of the job that comes of an order."""
    return JobFiles.of(machine.home() / "jobs" / kept.order.order_id)


def resumed(kept: KeptOrder) -> KeptOrder | None:
    """Return the order of an earlier command that asks for the same and is not to be sent anew; None where none is.

    It is under way, or its job is here and was not interrupted. It goes to the fleet that is named now.
    """
    earlier = newest(kept.key)
    if earlier is None:
        return None
    if earlier.state is not Kept.open and not (earlier.state is Kept.recorded and _is_whole(job_files(earlier))):
        return None
    order = replace(earlier.order, number=kept.order.number)
    return replace(earlier, order=order, engine=kept.engine, address=kept.address)


def _is_whole(files: JobFiles) -> bool:
    """Whether all of a recorded job was measured, and it is still here."""
    try:
        return not files.read_job().interrupted
    except (FileNotFoundError, RecordError):
        return False


@contextmanager
def incoming(kept: KeptOrder) -> Iterator[Path]:
    """Give a new directory that a job can be fetched into; what is left in it, or in one of a dead process, goes."""
    place = machine.home() / "fleet" / "incoming" / f"{kept.order.order_id}.{os.getpid()}"
    for other in place.parent.glob(f"{kept.order.order_id}.*"):
        if other == place or not psutil.pid_exists(int(other.suffix[1:])):
            shutil.rmtree(other, ignore_errors=True)
    place.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def adopt(kept: KeptOrder, fetched: Path) -> bool:
    """Move a fetched job to its place in almaflow's home, as a job of this home.

    Returns:
        False where the order has a result already: this one is a second one, and is not taken.

    Raises:
        RecordError: what came is no job that can be read here.
        AlmaflowError: what came is another job or none, or something else is in its place.
    """
    files = job_files(kept)
    try:
        _name_places(fetched, files.root)
        job = read_json(fetched / "job.json", Job)
    except FileNotFoundError as error:
        message = f"order {kept.order.order_id}: what came has no record of a job; it is not taken"
        raise AlmaflowError(message) from error
    if job.job_id != kept.order.order_id:
        message = f"order {kept.order.order_id}: what came is job {job.job_id}; it is not taken"
        raise AlmaflowError(message)
    job = replace(
        job,
        directory=str(files.root),
        model=kept.model,
        store=kept.store,
        experiment_name=kept.experiment_name,
        config=kept.config,
        sweep_id=kept.order.sweep_id,
        run_id=None,
        tracked=False,
    )
    for name in ("lock", "tracked"):  # what they say is of the machine
        (fetched / name).unlink(missing_ok=True)
    write_json(fetched / "job.json", job)
    for directory, outcome in JobFiles.of(fetched).outcomes().values():
        write_reproduction(directory, outcome, job)
    sync_tree(fetched)
    files.root.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
    try:
        fetched.rename(files.root)  # never onto a directory that has files
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        if not (files.root / "job.json").exists():
            message = f"{files.root} is in the place of the job of an order, and is none: remove it"
            raise AlmaflowError(message) from error
        return False
    sync_directory(files.root.parent)  # before its machine may remove it
    return True


def _name_places(root: Path, directory: Path) -> None:
    """Let the records of a job name its directory here, in place of what stands for that of its machine."""
    here = json.dumps(str(directory))[1:-1].encode()
    for path in (root / "job.json", *root.glob("conversions/*/outcome.json")):
        data = path.read_bytes()
        if JOB.encode() in data:
            path.write_bytes(data.replace(JOB.encode(), here))


def record(kept: KeptOrder, uri: str | None, warn: Callable[[str], None]) -> Job:
    """Write an adopted job to its store, and return it; what the store cannot take waits for ``almaflow sync``.

    Args:
        kept: The order that it came of.
        uri: The URI of its store; None: as the order names it.
        warn: Gets a line where something waits.
    """
    files = job_files(kept)
    try:
        with files.locked():
            job = files.read_job()
            if job.tracked:
                return job
            written = write_to_store(files, uri or uri_of(kept))
            if written.why_not:
                warn(written.why_not)
            return written.job or job
    except (TrackingError, UsageError, BusyError) as error:
        warn(f"{error}; `almaflow sync` writes what is missing")
        return files.read_job()


def uri_of(kept: KeptOrder) -> str:
    """Return the URI of the store that an order's job goes to.

    Raises:
        UsageError: it has credentials, which are kept nowhere, and is not the one that is set here.
    """
    uri = kept.store if MASK not in kept.store else resolve_uri(None)
    if display_uri(uri) != kept.store:
        message = f"order {kept.order.order_id} belongs into {kept.store}: set MLFLOW_TRACKING_URI to it"
        raise UsageError(message)
    return uri
