"""``almaflow.profile``: records the calls of marked functions, and measures what they are made of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from almaflow.segments.backends import resolve_backends
from almaflow.segments.session import ProfilingSession

if TYPE_CHECKING:
    import os


def profile(  # noqa: PLR0913 - the settings of a session, each of which has a default
    *backends: str,
    home: str | os.PathLike[str] | None = None,
    fidelity_inputs: int = 4,
    inputs: str = "real",
    no_grad: bool = True,
    recompile_limit: int = 64,
    print_to: TextIO | None = sys.stdout,
) -> ProfilingSession:
    """Open a session in which calls of functions with ``almaflow.accelerate`` are recorded.

    The application runs as ever, its graphs eagerly. Each graph at each size is kept as a segment with its inputs,
    and the Python between graphs is timed. One session is open in a process at a time; it records all threads.

    Args:
        backends: ``MACHINE/CONVERSION`` to measure segments with: ``local/ONNX_CPU``, ``local/tier2``; by default
            ``local/tier1``. The names of octoml-profile are understood.
        home: Where the profile is kept; by default almaflow's home.
        fidelity_inputs: How many different inputs of each segment are kept.
        inputs: What is written of them: ``"real"``, ``"permuted"`` (the elements shuffled) or ``"zeros"``.
        no_grad: Whether calls run without gradients.
        recompile_limit: How many graphs PyTorch may make of one function before it gives up on it.
        print_to: Where lines for people are printed; None: nowhere.

    Raises:
        UsageError: a backend or a setting is wrong; when it is entered: another session is open.
    """
    found, notes = resolve_backends(backends)
    return ProfilingSession(
        found,
        notes=notes,
        home=None if home is None else Path(home).expanduser().absolute(),
        fidelity_inputs=fidelity_inputs,
        inputs=inputs,
        no_grad=no_grad,
        recompile_limit=recompile_limit,
        print_to=print_to,
    )
