"""Build conversions that deployers use and Alma lacks, from small steps.

A name is a chain: steps that change the model (``FP16``, ``CHANNELS_LAST``, ``TORCHAO_QUANT_INT8`` ...), then one that
runs it (``EAGER`` if none is named). Each module here lists its steps by name in ``CHANGES`` and ``RUNS``, and
in ``WITNESSES`` what tells whether a change was made;
``docs/adding-conversions.md`` shows how to add one.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow.conversions.built.evidence import together
from almaflow.conversions.built.model import BuildInputs, BuiltModel
from almaflow.conversions.built.narrow import CASTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from almaflow.conversions.built.model import Backend, ModelChange, Witness

__all__ = ["BuildInputs", "BuiltModel", "build"]

CHANGES: dict[str, ModelChange] = {}
RUNS: dict[str, Backend] = {}
WITNESSES: dict[str, Witness] = {}
for _info in pkgutil.iter_modules(__path__, f"{__name__}."):
    _module = importlib.import_module(_info.name)
    CHANGES.update(getattr(_module, "CHANGES", {}))
    RUNS.update(getattr(_module, "RUNS", {}))
    WITNESSES.update(getattr(_module, "WITNESSES", {}))


def build(steps: Sequence[str], model: torch.nn.Module, work: BuildInputs, run: Backend | None = None) -> BuiltModel:
    """Change the model step by step, then build the last step, which runs it.

    Args:
        steps: Names of steps in order; only the last may be one that runs the model.
        model: In eval mode, on the device of the example inputs. It may be changed.
        work: Example inputs and settings.
        run: Builds the last step, if another package provides it.

    Raises:
        Exception: whatever a converter raises.
    """
    run = run or RUNS.get(steps[-1])
    for step in steps[:-1] if run else steps:
        model = CHANGES[step](model, work)
    built = (run or RUNS["EAGER"])(model, work)
    if built.model is None and CASTS.intersection(steps):
        built = replace(built, model=model)  # its weights tell that it was cast
    witnesses = [WITNESSES[step] for step in steps if step in WITNESSES]
    if not witnesses:
        return built
    # Those of single steps last, since they say more exactly what is amiss.
    evidence = built.evidence
    return replace(built, evidence=lambda: together([evidence(), *[tell(model, work) for tell in witnesses]]))


def __getattr__(name: str) -> object:
    """Return a name of almaflow 0.1, which plug-ins import."""
    from almaflow.moved import renamed

    return renamed(__name__, name)
