"""An entry of the catalogue, put together from the steps that its name consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from almaflow.conversions.catalogue.entry import Conversion

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Step:
    """One technique, and what it settles about the conversions that have it."""

    does: str
    family: str | None = None
    """None where the other steps say what runs the model."""
    device: str = "any"
    needs: tuple[str, ...] = ()
    dtype: str | None = None
    """The arithmetic type, where the technique changes it."""
    casts_inputs: bool = False
    """Whether the inputs are cast to ``dtype`` before the timed call."""

    @property
    def quantises(self) -> bool:
        """Whether the type is one that weights are rounded to with a scale."""
        return self.dtype is not None and self.dtype.startswith(("int", "float8"))


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
    others.setdefault("number", None)
    others.setdefault("summary", ", then ".join(step.does for step in own))
    return Conversion(
        name=name,
        family=_family(own),
        steps=names,
        engine=engine,
        device=next((step.device for step in own if step.device != "any"), "any"),
        dtype=(quantising or [step.dtype for step in own if step.dtype] or ["float32"])[0],
        input_dtype=casting[0] if casting else "float32",
        quantised=bool(quantising),
        needs=(*needs, *dict.fromkeys(need for step in own for need in step.needs)),
        **others,
    )


def _family(steps: list[Step]) -> str:
    """A step that quantises says what the conversion is; else the last of those that change more than the type."""
    known = [step for step in steps if step.family]
    quantising = [step for step in known if step.quantises]
    changing = [step for step in known if step.family != "eager"]
    return str((quantising or changing or known)[-1].family)
