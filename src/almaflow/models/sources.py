"""Finds the user's own code in this process: modules outside of the standard library and of installed packages."""

from __future__ import annotations

import hashlib
import re
import sys
import sysconfig
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INSTALLED = {"site-packages", "dist-packages"}
"""Names of directories that hold installed packages; those of editable installs are outside, and are own code."""
RECORDED = {"almaflow", "torch", "torchvision"}
"""Packages that are left out: the versions of PyTorch's are in each job's environment."""
_PROGRAMS = {"__main__", "__mp_main__"}
_IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+(\w+)|import[ \t]+([\w., \t]+))", re.MULTILINE)


def own_sources() -> dict[str, str]:
    """Hash the file of each own module that this process has imported, whoever imported it.

    The content counts to the last byte, so that a changed comment makes another source: code may read its own source,
    as TorchScript does. Paths do not count, so that a copy elsewhere is the same.

    Returns:
        Digests by the modules' names. The main program is not among them: in a worker it is almaflow's.
    """
    return {name: digest_of(content) for name, content in sorted(_own_contents())}


def changed_sources(before: Mapping[str, str]) -> list[str]:
    """Return the own modules of this process that have another content than they had in another process.

    Args:
        before: What ``own_sources`` returned there.
    """
    return [name for name, digest in own_sources().items() if before.get(name, digest) != digest] if before else []


def imported_by_own() -> set[str]:
    """Return the names of packages that own modules import, wherever in their code; other words may be among them."""
    found = [match for _, content in _own_contents() for match in _IMPORT.findall(content)]
    words = [word for one, several in found for word in ([one] if one else several.split(b","))]
    return {root_of(parts[0]) for word in words if (parts := word.decode("ascii", "replace").split())}


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of each installed package that is among the names and that this process has imported.

    A version has a digest of the package's files beside it, as the installer recorded them: people install a package of
    their own again without giving it another number.
    """
    found = {name: _version(name) for name in sorted({root_of(name) for name in names} - RECORDED)}
    return {name: version for name, version in found.items() if version}


def root_of(name: str) -> str:
    """Return the package that a module is in, by their dotted names."""
    return name.partition(".")[0]


def digest_of(content: bytes | memoryview) -> str:
    """Return 32 hexadecimal digits, at about a gigabyte in a second."""
    return hashlib.sha256(content).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """Return 32 hexadecimal digits of a file's content.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def _own_contents() -> Iterator[tuple[str, bytes]]:
    """Yield the names of own modules with what is in their files, also in a zip archive."""
    standard = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    for name, module in list(sys.modules.items()):
        file, spec = _variable(module, "__file__"), _variable(module, "__spec__")
        if not isinstance(file, str) or root_of(name) in RECORDED | _PROGRAMS or _is_installed(file):
            continue
        if standard.isdisjoint(Path(file).resolve().parents):
            with suppress(AttributeError, OSError):  # a loader without files, or a file that is gone
                yield name, spec.loader.get_data(file)  # type: ignore[attr-defined]


def _variable(module: ModuleType | None, name: str) -> object:
    """Return a module's variable; unlike ``getattr`` it makes no module import more."""
    return vars(module).get(name) if isinstance(module, ModuleType) else None


def _is_installed(file: str) -> bool:
    return not INSTALLED.isdisjoint(Path(file).parts)


def _version(name: str) -> str | None:
    file = _variable(sys.modules.get(name), "__file__")
    if not isinstance(file, str) or not _is_installed(file):
        return None
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:  # its distribution has another name, which takes a second to find out
        return str(_variable(sys.modules[name], "__version__") or file_digest(Path(file)))
    rows = (found.read_text("RECORD") or "").splitlines()
    code = sorted(row for row in rows if "sha256=" in row and ".dist-info/" not in row)
    return f"{found.version} {digest_of(chr(10).join(code).encode())}"
