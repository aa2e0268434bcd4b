"""Compose the lines of ``load.py`` by which ``torch.compile`` compiles a module, as it was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.conversions.exports.loader import settings_source

if TYPE_CHECKING:
    from almaflow.conversions.exports.loader import Work

CONFIG = {
    "MAX_AUTOTUNE": (
        'torch._inductor.config.max_autotune_gemm_backends = "ATEN,TRITON,CPP"',
        'torch._inductor.config.max_autotune_conv_backends = "ATEN"',
    ),
    "FREEZING": ("torch._inductor.config.freezing = True",),
    "EAGER_FALLBACK": ("torch._dynamo.config.suppress_errors = True",),
    "COMPILE_OPENVINO": ("torch._dynamo.config.prepare_freezing = True",),
}
"""What torch.compile is configured by besides its arguments, by the end of a step's name."""


def compiling(work: Work) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the lines before the model is loaded, those that compile it, and imports; nothing where nothing compiles.

    Raises:
        NotImplementedError: it is compiled with settings that cannot be written down.
    """
    if not work.planned.traits.dynamo:
        return (), (), ()
    config = tuple(
        line for step in work.planned.steps for end, lines in CONFIG.items() if step.endswith(end) for line in lines
    )
    modules = sorted({f"import {'.'.join(line.split('.')[:2])}.config" for line in config})
    compiled = f"network = torch.compile(network, {settings_source(dict(work.built.settings))})"
    return config, (compiled,), tuple(modules)


def compilers(work: Work) -> tuple[str, ...]:
    """Return the distributions by whose entry points ``torch.compile`` finds its backend."""
    return ("openvino",) if "COMPILE_OPENVINO" in work.planned.steps else ()
