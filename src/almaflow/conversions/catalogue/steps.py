"""An entry of the catalogue, put together from the steps that its name consists of."""

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
    """One technique, and what it settles about the conversions that have it."""

    does: str
    family: str | None = None
    """Its row in ``families.FAMILIES``; None where the other steps say what runs the model."""
    device: str = "any"
    needs: tuple[str, ...] = ()
    dtype: str | None = None
    """The arithmetic type, where the technique changes it."""
    casts_inputs: bool = False
    """Whether the inputs are cast to ``dtype`` before the timed call."""
    own_row: Family | None = None
    """Instead of the table's."""

    @property
    def row(self) -> Family:
        """What its runtime is like."""
        return self.own_row or (FAMILIES.get(self.family, Family()) if self.family else PLAIN)

    @property
    def quantises(self) -> bool:
        """Whether the type is one that weights are rounded to with a scale."""
        return self.dtype is not None and self.dtype.startswith(("int", "float8"))


BUILDER_MODULES = {
    "alma": ("alma.conversions.select",),
    "native": ("almaflow.conversions.native", "torch.export"),
    "registered": (),
}
"""What a worker imports for whoever builds the conversion."""

ONNX = ("onnx", "onnxscript", "onnxruntime")


def inductor(mode: str) -> Step:
    """A step that compiles with inductor."""
    return Step(f"torch.compile with inductor, {mode}", "inductor")


SHARED: dict[str, Step] = {
    "FP16": Step("weights and inputs cast to float16", dtype="float16", casts_inputs=True),
    "BF16": Step("weights and inputs cast to bfloat16", dtype="bfloat16", casts_inputs=True),
    "COMPILE_INDUCTOR_DEFAULT": inductor("mode default"),
    "ONNX_GPU": Step(
        "ONNX export, run by ONNX Runtime's CUDA provider", "onnx", "cuda", (*ONNX[:2], "onnxruntime-gpu")
    ),
}
"""Steps of Alma's that are built here too."""


def compose(name: str, steps: Mapping[str, Step], *, needs: tuple[str, ...], engine: str, **others: Any) -> Conversion:
    """An entry of that name.

    Args:
        name: Steps in the order in which they are applied, with plus signs between them.
        steps: What each technique does.
        needs: Packages that all conversions of this engine need, PyTorch first.
        engine: Who builds it.
        others: Further fields of the entry, also instead of what the steps say.
    """
    names = tuple(name.split("+"))
    own = [steps[step] for step in names]
    casting = [step.dtype for step in own if step.dtype and step.casts_inputs]
    quantising = [step.dtype for step in own if step.dtype and step.quantises]
    main, each = _main(own), [step.row.traits for step in own]
    traits = replace(
        main.row.traits,
        runtimes=tuple(dict.fromkeys(chain(*(one.runtimes for one in each)))),
        preload=tuple(dict.fromkeys(chain(BUILDER_MODULES[engine], *(one.preload for one in each)))),
        dynamo=any(one.dynamo for one in each),
        fuses_elementwise=any(one.fuses_elementwise for one in each),
        replaces_weights=any(one.replaces_weights for one in each),
    )
    others.setdefault("number", None)
    others.setdefault("summary", ", then ".join(step.does for step in own))
    return Conversion(
        name=name,
        family=main.row.label or str(main.family),
        steps=names,
        engine=engine,
        device=next((step.device for step in own if step.device != "any"), "any"),
        dtype=(quantising or [step.dtype for step in own if step.dtype] or ["float32"])[0],
        input_dtype=casting[0] if casting else "float32",
        quantised=bool(quantising),
        needs=(*needs, *dict.fromkeys(need for step in own for need in step.needs)),
        traits=traits,
        checks=tuple(step.row.check for step in own if step.row.check),
        **others,
    )


def _main(steps: list[Step]) -> Step:
    """A step that quantises says what the conversion is; else the last of those that change more than the type."""
    known = [step for step in steps if step.family]
    quantising = [step for step in known if step.quantises]
    changing = [step for step in known if step.family != "eager"]
    return (quantising or changing or known)[-1]
