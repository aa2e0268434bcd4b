"""Conversions that other packages bring, by the entry point group ``almaflow.conversions``.

An entry point names a ``ConversionPlugin`` or a list of them. It is loaded whenever the catalogue is asked for, so its
module should import nothing slow; what builds the conversion is imported in the worker only.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from almaflow.conversions.catalogue.alma import ALMA
from almaflow.conversions.catalogue.families import FAMILIES, INDUCTOR, Family
from almaflow.conversions.catalogue.native import NATIVE, STEPS
from almaflow.conversions.catalogue.steps import Step, compose
from almaflow.records.plan import RuntimeTraits

if TYPE_CHECKING:
    from almaflow.conversions.catalogue.entry import Conversion

GROUP = "almaflow.conversions"


@dataclass(frozen=True)
class ConversionPlugin:
    """A conversion of a package of your own."""

    name: str
    """Steps joined by plus signs: known ones that change the model (``FP16+``), and last one of your own.

    One of your own that begins with ``COMPILE_`` goes through torch.compile, whose graphs are then looked at.
    """
    builder: str
    """``module:function`` of that last step: takes the model and a ``BuildInputs``, returns a ``BuiltModel``."""
    does: str
    """In one line."""
    family: str = "own"
    device: str = "any"
    dtype: str = "float32"
    """Arithmetic type, which sets the tolerance of the output."""
    needs: tuple[str, ...] = ()
    """Packages as pip names them, with version bounds where it takes some."""
    runtimes: tuple[str, ...] | None = None
    """Distributions whose versions make a figure another one; by default its own package and those of ``needs``."""

    def entry(self, package: str | None = None) -> Conversion:
        """The entry of the catalogue.

        Args:
            package: The distribution that brings it.

        Raises:
            ValueError: the builder is no ``module:function``, or a step before the last is unknown.
        """
        module, _, function = self.builder.partition(":")
        if not (module and function.isidentifier()):
            message = f"{self.name}: builder={self.builder!r} is not like my_package.my_module:my_function"
            raise ValueError(message)
        *before, last = self.name.split("+")
        if unknown := [step for step in before if step not in STEPS]:
            message = f"{self.name}: no such step: {', '.join(unknown)}; there are {', '.join(STEPS)}"
            raise ValueError(message)
        dtype = None if self.dtype == "float32" else self.dtype
        own = Step(self.does, self.family, self.device, self.needs, dtype, own_row=self._row(package, last))
        return compose(self.name, STEPS | {last: own}, needs=("torch>=2.7",), engine="registered", builder=self.builder)

    def _row(self, package: str | None, step: str) -> Family:
        """What is known of it: of a known family what its figures mean, and nothing of how almaflow runs that."""
        known = FAMILIES.get(self.family, Family()).traits
        own = self.runtimes
        if own is None:
            named = (*filter(None, [package]), *(Requirement(need).name for need in self.needs))
            own = tuple(map(canonicalize_name, named))
        compiles = step.startswith("COMPILE_")
        return Family(
            RuntimeTraits(
                tuple(dict.fromkeys((*known.runtimes, *own))),
                INDUCTOR if compiles else (),
                recommended_for=known.recommended_for,
                dynamo=compiles,
                keeps_memory=known.keeps_memory,
            )
        )


@cache
def registered() -> tuple[Conversion, ...]:
    """What installed packages have registered; of what cannot be taken, a warning says why."""
    taken = {spelling.casefold() for entry in (*ALMA, *NATIVE) for spelling in (entry.name, *entry.aliases)}
    found: list[Conversion] = []
    for point in sorted(entry_points(group=GROUP)):
        try:
            entries = _load(point)
        except Exception as error:  # noqa: BLE001 - whatever another package raises must not end ours
            _warn(point, f"{type(error).__name__}: {error}")
            continue
        for entry in entries:
            if entry.name.casefold() in taken:
                _warn(point, f"there is a conversion {entry.name} already")
                continue
            taken.add(entry.name.casefold())
            found.append(entry)
    return tuple(found)


def _load(point: EntryPoint) -> list[Conversion]:
    loaded = point.load()
    package = point.dist.name if point.dist else None
    return [own.entry(package) for own in ([loaded] if isinstance(loaded, ConversionPlugin) else loaded)]


def _warn(point: EntryPoint, why: str) -> None:
    package = point.dist.name if point.dist else "a package"
    warnings.warn(f"conversions of {package} ({point.value}) are left out: {why}", stacklevel=3)
