"""What ``almaflow fleet doctor`` looks at."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from importlib import metadata

from almaflow.errors import AlmaflowError
from almaflow.fleet import this_machine
from almaflow.fleet.engines.ray import token_path
from almaflow.fleet.engines.ray_node import check_answers
from almaflow.fleet.orders import outstanding
from almaflow.fleet.service import HEAD, JOIN, directory
from almaflow.fleet.spool import Spool
from almaflow.machine.identity import machine_id


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    line: str
    is_well: bool | None = True
    """None: it is not there, and need not be."""


def checks() -> list[Check]:
    """Look at what a fleet needs here. Nothing is started, and only a head's port is tried."""
    found = [_ray(), _token(), Check("this machine", f"{machine_id()}, matches {', '.join(this_machine.kinds())}")]
    for service, word in ((HEAD, "the head"), (JOIN, "a machine of the fleet")):
        running = service.running()
        if running is None:
            found.append(Check(word, "does not run here", is_well=None))
            continue
        try:
            check_answers(running.address)
        except AlmaflowError as error:
            found.append(Check(word, str(error), is_well=False))
        else:
            found.append(Check(word, f"runs here, and {running.address} answers"))
    spooled = Spool(directory() / "spool").orders()
    found.append(Check("spool", f"{len(spooled)} orders lie on this machine"))
    waiting = len(outstanding())
    line = (
        f"{waiting} have no recorded result: `almaflow fleet collect` fetches what is done" if waiting else "none waits"
    )
    return [*found, Check("orders of this home", line)]


def _ray() -> Check:
    try:
        return Check("Ray", f"{metadata.version('ray')} is installed; all machines need the same, and the same Python")
    except metadata.PackageNotFoundError:
        return Check("Ray", "is not installed: pip install -e '.[ray]' in almaflow's checkout", is_well=False)


def _token() -> Check:
    place = token_path()
    if not place.is_file():
        return Check(
            "token", "none is here; `almaflow fleet head` makes one, `join --token-file` keeps one", is_well=None
        )
    if stat.S_IMODE(place.stat().st_mode) & 0o077:
        return Check("token", f"others may read {place}: chmod 600 it", is_well=False)
    return Check("token", f"{place}, which its owner alone reads")
