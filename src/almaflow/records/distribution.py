"""Find the distribution that this package is installed as, and what its extras install.

The name that it is imported by belongs to another project on the package index.
"""

from __future__ import annotations

import shlex
from functools import cache
from importlib import metadata

from packaging.requirements import Requirement

NAME = "mlflow-alma"
FORMER = "almaflow"
"""The name of a checkout that was installed before the name changed, until it is installed again."""


@cache
def distribution() -> metadata.Distribution:
    """Return the installed distribution.

    Raises:
        PackageNotFoundError: the package is found on the path only, and is not installed.
    """
    try:
        return metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        return metadata.distribution(FORMER)


def requirements(extra: str = "") -> list[Requirement]:
    """Return what almaflow itself, or one of its extras, declares to need here.

    Raises:
        PackageNotFoundError: the package is not installed.
    """
    declared = [Requirement(line) for line in distribution().requires or ()]
    context = {"extra": extra}
    if not extra:
        return [each for each in declared if each.marker is None or each.marker.evaluate(context)]
    return [each for each in declared if (mark := each.marker) and "extra" in str(mark) and mark.evaluate(context)]


def install_line(extra: str) -> str:
    """Return the command that installs an extra's packages by their own names, wherever almaflow came from."""
    try:
        packages = [f"{each.name}{each.specifier}" for each in requirements(extra)]
    except metadata.PackageNotFoundError:
        packages = ["-e", f".[{extra}]"]
    return shlex.join(["pip", "install", *packages])
