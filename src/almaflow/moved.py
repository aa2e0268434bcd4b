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
from typing import TYPE_CHECKING, Any

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


def of_the_worker(name: str) -> object:
    """Give what scripts import from ``worker.conversion`` and other modules of the worker have now.

    Raises:
        AttributeError: the module never had the name.
    """
    if name == "Inputs":
        return importlib.import_module("almaflow.worker.inputs").Inputs
    if name == "fidelity_of":
        return _fidelity_of
    message = f"module 'almaflow.worker.conversion' has no attribute {name!r}"
    raise AttributeError(message)


def _fidelity_of(converted: Any, inputs: Any, references: Any, planned: Any) -> Any:
    """Compare outputs by position, without the traits of the model, as ``worker.conversion.fidelity_of`` did."""
    fidelity = importlib.import_module("almaflow.worker.fidelity")
    flatten = importlib.import_module("almaflow.models.outputs").flatten_outputs
    outputs = [[t.clone() for t in flatten(converted.call(inputs.get(i)))] for i in range(len(references))]
    return fidelity.compare(references, outputs, fidelity.arithmetic(planned.dtype, planned.device))


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
        if module.__name__ == "almaflow.conversions.adapter":
            module.__dict__["build"] = _build


def _build(planned: Any, model: Any, batches: Any, task: Any) -> Any:
    """Convert a model as ``conversions.adapter.build`` did: the task has threads, streams and the level of the log."""
    conversions = importlib.import_module("almaflow.conversions")
    catalogue = importlib.import_module("almaflow.conversions.catalogue.plan")
    build = importlib.import_module("almaflow.conversions.build").build
    inputs = conversions.BuildInputs(batches, task.hardware.threads, task.measure.streams)
    return build(catalogue.planned_with_traits(planned), model, inputs, task.measure.log_level)


def find_old_modules() -> None:
    """Let modules be found by their old names in this process."""
    if not any(isinstance(finder, OldModules) for finder in sys.meta_path):
        sys.meta_path.append(OldModules())
