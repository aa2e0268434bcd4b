"""Compose an entry of the catalogue from the steps in its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from almaflow.conversions.catalogue.entry import Conversion
from almaflow.conversions.catalogue.families import FAMILIES, PLAIN, Family

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Step:
    """One technique, and what it determines about the conversions that use it."""

    does: str
    family: str | None = None
    """Its row in ``families.FAMILIES``; None if the other steps say what runs the model."""
    device: str = "any"
    needs: tuple[str, ...] = ()
    dtype: str | None = None
    """The arithmetic type, if the technique changes it."""
    casts_inputs: bool = False
    """Whether the inputs are cast to ``dtype`` before the timed call."""
    own_row: Family | None = None
    """A row that replaces the one of the table."""
    fixed_sizes: str | None = None
    """Why models that this step makes take no other sizes, beside what its row says."""

    @property
    def row(self) -> Family:
        """Return the row of its runtime."""
        return self.own_row or (FAMILIES.get(self.family, Family()) if self.family else PLAIN)

    @property
    def quantises(self) -> bool:
        """Whether weights are rounded to the type with a scale."""
        return self.dtype is not None and self.dtype.startswith(("int", "float8"))


BUILDER_MODULES = {
    "alma": ("alma.conversions.select",),
    "native": ("almaflow.conversions.native", "torch.export"),
    "registered": (),
}
"""Modules that a worker imports for each kind of builder."""

ONNX = ("onnx", "onnxscript", "onnxruntime")


def inductor(mode: str, *, picks_by_timing: bool = False) -> Step:
    """Return a step that compiles with inductor, which may choose kernels by timing them."""
    row = FAMILIES["inductor"]
    own_row = replace(row, traits=replace(row.traits, picks_by_timing=True)) if picks_by_timing else None
    return Step(f"torch.compile with inductor, {mode}", "inductor", own_row=own_row)


SHARED: dict[str, Step] = {
    "FP16": Step("weights and inputs cast to float16", dtype="float16", casts_inputs=True),
    "BF16": Step("weights and inputs cast to bfloat16", dtype="bfloat16", casts_inputs=True),
    "COMPILE_INDUCTOR_DEFAULT": inductor("mode default"),
    "ONNX_GPU": Step(
        "ONNX export, run by ONNX Runtime's CUDA provider", "onnx", "cuda", (*ONNX[:2], "onnxruntime-gpu")
    ),
}
"""Steps of Alma that almaflow builds too."""


def compose(name: str, steps: Mapping[str, Step], *, needs: tuple[str, ...], engine: str, **others: Any) -> Conversion:
    """Return the entry of that name.

    Args:
        name: Steps in the order in which they are applied, with plus signs between them.
        steps: What each technique does.
        needs: Packages that all conversions of this engine need, PyTorch first.
        engine: The builder.
        others: Further fields of the entry; they override what the steps say.
    """
    names = tuple(name.split("+"))
    techniques = [steps[name] for name in names]
    casting = [step.dtype for step in techniques if step.dtype and step.casts_inputs]
    quantising = [step.dtype for step in techniques if step.dtype and step.quantises]
    main = _main_step(techniques)
    all_traits = [step.row.traits for step in techniques]
    traits = replace(
        main.row.traits,
        runtimes=tuple(dict.fromkeys(chain(*(each.runtimes for each in all_traits)))),
        preload=tuple(dict.fromkeys(chain(BUILDER_MODULES[engine], *(each.preload for each in all_traits)))),
        dynamo=any(each.dynamo for each in all_traits),
        fuses_elementwise=any(each.fuses_elementwise for each in all_traits),
        replaces_weights=any(each.replaces_weights for each in all_traits),
        quantises_graph=any(each.quantises_graph for each in all_traits),
        picks_by_timing=any(each.picks_by_timing for each in all_traits),
    )
    others.setdefault("number", None)
    others.setdefault("summary", ", then ".join(step.does for step in techniques))
    return Conversion(
        name=name,
        family=main.row.label or str(main.family),
        steps=names,
        engine=engine,
        device=next((step.device for step in techniques if step.device != "any"), "any"),
        dtype=(quantising or [step.dtype for step in techniques if step.dtype] or ["float32"])[0],
        input_dtype=casting[0] if casting else "float32",
        quantised=bool(quantising),
        needs=(*needs, *dict.fromkeys(need for step in techniques for need in step.needs)),
        fixed_sizes=next(filter(None, (step.fixed_sizes or step.row.fixed_sizes for step in techniques)), None),
        traits=traits,
        checks=tuple(step.row.check for step in techniques if step.row.check),
        **others,
    )


def _main_step(steps: list[Step]) -> Step:
    """Return the last step that quantises, else the last that changes more than the type."""
    with_family = [step for step in steps if step.family]
    quantising = [step for step in with_family if step.quantises]
    changing = [step for step in with_family if step.family != "eager"]
    return (quantising or changing or with_family)[-1]
