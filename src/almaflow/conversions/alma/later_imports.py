"""Import Alma without what none of its conversions uses: models of transformers that optimum-quanto has wrappers for.

Importing transformers takes a second of processor time, and its part of SciPy, in each job.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

QUANTO = "optimum.quanto"
MODELS = f"{QUANTO}.models"


def import_quanto() -> None:
    """Import optimum-quanto, whose wrappers of models are imported when somebody asks for one."""
    if QUANTO in sys.modules:
        return
    later = types.ModuleType(MODELS)
    later.__all__ = []  # type: ignore[attr-defined] # names that quanto takes over from it
    sys.modules[MODELS] = later
    try:
        quanto = importlib.import_module(QUANTO)
    finally:
        if sys.modules.get(MODELS) is later:
            del sys.modules[MODELS]

    def of_models(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        models = importlib.import_module(MODELS)
        return models if name == "models" else getattr(models, name)

    quanto.__getattr__ = of_models  # type: ignore[method-assign] # PEP 562
