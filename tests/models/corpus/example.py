"""An example of the corpus: a tiny model, its inputs, and what is true of it by construction.

A model is a class or a function that builds one; ``@example`` puts it on the list. The workers import it by its path,
and draw its weights and inputs by seeds, as they do a user's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

from almaflow.records import InputSpec, ModelSpec, TargetSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records import ModelTraits

Builder = TypeVar("Builder", bound="Callable[..., Any]")

OK = "ok"
OK_WITH_NOTE = "ok, with a note"
WRONG = "wrong_output"
HONEST = frozenset({OK, OK_WITH_NOTE, "unavailable", "unsupported", "error", "fell_back", "missing_dependency"})
"""Verdicts that are right unless an example says otherwise: never a wrong output, a crash or a time-out."""

ROUNDING = frozenset({"int8", "int4", "int2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"})
"""Types so narrow that the outputs of a small random network may really be too far from eager's."""

ANYTHING = object()
"""A trait that may be there or not: PyTorch's own layers decide, and differently from version to version."""
FOUND_OR_NOT = ("writes_inputs", "keeps_state", "random", "in_training", "decides_by_values", "sizes_by_values")
"""Traits that are absent wherever an example does not name them; a false alarm is as wrong as a silence."""

FLOAT16 = ("FP16+*", "OPENVINO_FP16")
BFLOAT16 = ("BF16+*", "OPENVINO_BF16")
TRACED = ("*JIT_TRACE", "OPENVINO*", "ONNX*")
"""Conversions that may run the model's Python once and keep what it decided."""
WHOLE_GRAPH = (*TRACED, "EXPORT+*", "*+EXPORT+*", "AOT_INDUCTOR_PACKAGE", "EXECUTORCH_XNNPACK", "NATIVE_*")
"""Conversions that turn the whole model into one graph."""
PLAIN = ("EAGER", "JIT_TRACE", "EXPORT+EAGER", "ONNX_CPU", "OPENVINO")
"""Conversions that lose nothing, and have what a common model needs."""


@dataclass(frozen=True)
class Rule:
    """What holds of some conversions of one model, and why."""

    conversions: tuple[str, ...]
    """Names, with * for anything."""
    why: str
    more: frozenset[str] = frozenset()
    """Verdicts that are right too."""
    not_right: frozenset[str] = frozenset()
    """Verdicts that are wrong here."""

    def concerns(self, conversion: str) -> bool:
        return any(fnmatchcase(conversion, pattern) for pattern in self.conversions)


def always_ok(*conversions: str, why: str) -> Rule:
    """Nothing keeps these from being right, so that another verdict is a false alarm."""
    return Rule(conversions, why, not_right=HONEST - {OK, OK_WITH_NOTE})


def never_ok(*conversions: str, why: str) -> Rule:
    """These answer wrongly for some of the inputs, or cannot answer."""
    return Rule(conversions, why, frozenset({WRONG}), frozenset({OK, OK_WITH_NOTE}))


def only_with_note(*conversions: str, why: str) -> Rule:
    """These are right for the inputs here and not for others, which has to be said."""
    return Rule(conversions, why, frozenset({WRONG}), frozenset({OK}))


def may_be_wrong(*conversions: str, why: str) -> Rule:
    """These may really be too far from eager."""
    return Rule(conversions, why, frozenset({WRONG}))


@dataclass(frozen=True)
class Example:
    """A model of the corpus, with its true traits and verdicts."""

    name: str
    kind: str
    spec: ModelSpec
    rules: tuple[Rule, ...] = ()
    traits: dict[str, Any] = field(default_factory=dict)
    """Fields of ``ModelTraits``: True where something has to be found, the very value, or ``ANYTHING``."""
    refused: str | None = None
    """A part of the one line with which the model is refused before anything is measured."""

    def right_verdicts(self, conversion: str, dtype: str) -> frozenset[str]:
        """The verdicts that are right for a conversion that computes in ``dtype``."""
        if conversion == "EAGER":
            return frozenset({OK, OK_WITH_NOTE})
        right = HONEST | ({WRONG} if dtype in ROUNDING else set())
        for rule in self.rules:
            if rule.concerns(conversion):
                right = (right | rule.more) - rule.not_right
        return frozenset(right)

    def wrong_traits(self, found: ModelTraits) -> dict[str, Any]:
        """The traits that were not found as they are, with what was found."""
        wrong = {}
        for name in dict.fromkeys((*FOUND_OR_NOT, *self.traits)):
            said, true = getattr(found, name), self.traits.get(name, False)
            if true is not ANYTHING and true != (bool(said) if isinstance(true, bool) else said):
                wrong[name] = said
        return wrong

    def reasons(self, conversion: str) -> tuple[str, ...]:
        """Why the verdicts of a conversion are what they are, beside what holds of every model."""
        return tuple(rule.why for rule in self.rules if rule.concerns(conversion))


CORPUS: dict[str, Example] = {}
"""All examples by name, once their modules are imported."""


def example(
    *inputs: InputSpec,
    name: str | None = None,
    loader: str | None = None,
    batch_size: int = 2,
    kwargs: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
    rules: tuple[Rule, ...] = (),
    refused: str | None = None,
    **traits: Any,
) -> Callable[[Builder], Builder]:
    """Put a model on the list.

    Args:
        inputs: The inputs, drawn at random or picked from the loader's batches.
        name: Its name; by default that of the class or function.
        loader: The function beside the model that yields its batches.
        batch_size: Rows of a batch.
        kwargs: What the model is built with.
        fields: Further fields of ``ModelSpec``, such as the mask of padding.
        rules: What is true of conversions of this model.
        refused: A part of the line with which it is refused.
        traits: Fields of ``ModelTraits``, those that are not empty.
    """

    def put(builder: Builder) -> Builder:
        module = builder.__module__
        own = name or _snake(builder.__name__)
        spec = ModelSpec(
            own,
            target=f"{module}.{builder.__qualname__}",
            kwargs=kwargs or {},
            inputs=inputs or None,
            data_loader=TargetSpec(f"{module}.{loader}") if loader else None,
            batch_size=batch_size,
            **(fields or {}),
        )
        if own in CORPUS:
            message = f"two examples are named {own}"
            raise ValueError(message)
        CORPUS[own] = Example(own, module.rpartition(".")[2], spec, rules, traits, refused)
        return builder

    return put


def floats(*shape: int, name: str | None = None, dtype: str = "float32", batch_dim: int | None = 0) -> InputSpec:
    """A floating input, without the batch dimension."""
    return InputSpec(shape, dtype, name=name, batch_dim=batch_dim)


def integers(*shape: int, high: int, low: int = 0, name: str | None = None) -> InputSpec:
    """An integer input."""
    return InputSpec(shape, "int64", low, high, name)


def booleans(*shape: int, name: str | None = None) -> InputSpec:
    """A boolean input."""
    return InputSpec(shape, "bool", name=name)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
