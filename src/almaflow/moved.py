"""Old names of modules and classes that stored files and plug-ins still use. They go with the release after this one.

Scripts ``reproduce.py`` of earlier jobs import the worker's modules by their old names. Packages that bring
conversions import ``almaflow.conversions.registered``, and predictors the records by their old names.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

MODULES = {
    "almaflow.conversions.adapter": "almaflow.conversions.build",
    "almaflow.conversions.registered": "almaflow.conversions.catalogue.plugins",
    "almaflow.measure.fidelity": "almaflow.worker.fidelity",
    "almaflow.measure.prepare": "almaflow.worker.reference",
    "almaflow.runcontext": "almaflow.tracking.run_context",
}
NAMES = {
    "almaflow.conversions.catalogue.plugins": {"OwnConversion": "ConversionPlugin"},
    "almaflow.conversions.native": {"Native": "BuiltModel", "Work": "BuildInputs"},
    "almaflow.records": {
        "Learnt": "LearnedCosts",
        "Past": "PastMeasurement",
        "Prepared": "ReferenceInfo",
        "Question": "PredictionRequest",
    },
}
"""Old names by the module that has the new ones."""


def renamed(module: str, name: str) -> object:
    """Give what a module has under a new name, for its ``__getattr__``.

    Raises:
        AttributeError: the module never had the name.
    """
    new = NAMES[module].get(name)
    if new is None:
        message = f"module {module!r} has no attribute {name!r}"
        raise AttributeError(message)
    warnings.warn(f"{module}.{name} is {new} now", DeprecationWarning, stacklevel=3)
    return getattr(sys.modules[module], new)


class OldModules(MetaPathFinder, Loader):
    """Finds a module by its old name, where no other finder does."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Give a spec for old names only."""
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with what the new one has."""
        name = MODULES[module.__name__]
        warnings.warn(f"{module.__name__} is {name} now", DeprecationWarning, stacklevel=2)
        new = importlib.import_module(name)
        module.__dict__.update({key: value for key, value in vars(new).items() if not key.startswith("__")})
        module.__dict__.update({old: getattr(new, current) for old, current in NAMES.get(name, {}).items()})


def find_old_modules() -> None:
    """Let modules be found by their old names in this process."""
    if not any(isinstance(finder, OldModules) for finder in sys.meta_path):
        sys.meta_path.append(OldModules())
