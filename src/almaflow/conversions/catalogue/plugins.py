"""Load the conversions of other packages from the entry point group ``almaflow.conversions``.

An entry point names a ``ConversionPlugin`` or a list of them. It is loaded whenever the catalogue is used, so its
module should import nothing slow; the builder's module is imported in the worker only.
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
    """A conversion that your own package adds."""

    name: str
    """Steps joined by plus signs: almaflow's steps that change the model (``FP16+``), then one of your own.

    If your step begins with ``COMPILE_``, it uses torch.compile, and the graphs of that are checked.
    """
    builder: str
    """``module:function`` of that last step: takes the model and a ``BuildInputs``, returns a ``BuiltModel``."""
    does: str
    """Description of your step in one line."""
    family: str = "own"
    device: str = "any"
    dtype: str = "float32"
    """Arithmetic type, which sets the tolerance of the output."""
    needs: tuple[str, ...] = ()
    """Packages by their pip names, with version bounds where there are any."""
    runtimes: tuple[str, ...] | None = None
    """Distributions whose versions affect the figures; by default the package itself and those of ``needs``."""
    dynamic: bool = False
    """Whether your builder heeds ``BuildInputs.dynamic``, so that the converted model takes other sizes."""

    def entry(self, package: str | None = None) -> Conversion:
        """Return the entry of the catalogue.

        Args:
            package: The distribution that provides the conversion.

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
        fixed = None if self.dynamic else "another package builds it, and does not say that it takes other sizes"
        row = self._own_family(package, last)
        own = Step(self.does, self.family, self.device, self.needs, dtype, own_row=row, fixed_sizes=fixed)
        return compose(self.name, STEPS | {last: own}, needs=("torch>=2.7",), engine="registered", builder=self.builder)

    def _own_family(self, package: str | None, step: str) -> Family:
        """Return the traits: those of a known family about its figures and weights, not about how almaflow runs it."""
        traits = FAMILIES.get(self.family, Family()).traits
        runtimes = self.runtimes
        if runtimes is None:
            packages = (*filter(None, [package]), *(Requirement(need).name for need in self.needs))
            runtimes = tuple(map(canonicalize_name, packages))
        compiles = step.startswith("COMPILE_")
        return Family(
            RuntimeTraits(
                tuple(dict.fromkeys((*traits.runtimes, *runtimes))),
                INDUCTOR if compiles else (),
                recommended_for=traits.recommended_for,
                dynamo=compiles,
                keeps_memory=traits.keeps_memory,
                replaces_weights=traits.replaces_weights,
                quantises_graph=traits.quantises_graph,
            )
        )


@cache
def registered() -> tuple[Conversion, ...]:
    """Return the conversions of installed packages; warn about those that cannot be used, and why."""
    taken = {spelling.casefold() for entry in (*ALMA, *NATIVE) for spelling in (entry.name, *entry.aliases)}
    conversions: list[Conversion] = []
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
            conversions.append(entry)
    return tuple(conversions)


def _load(point: EntryPoint) -> list[Conversion]:
    loaded = point.load()
    package = point.dist.name if point.dist else None
    return [plugin.entry(package) for plugin in ([loaded] if isinstance(loaded, ConversionPlugin) else loaded)]


def _warn(point: EntryPoint, why: str) -> None:
    package = point.dist.name if point.dist else "a package"
    warnings.warn(f"conversions of {package} ({point.value}) are left out: {why}", stacklevel=3)
