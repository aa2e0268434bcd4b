"""Binds inputs to the parameters of a model's call, and gives the model a form that every converter takes."""

from __future__ import annotations

import inspect
import keyword
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch

from almaflow.errors import UsageError
from almaflow.models.call_form import CallForm, filled, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.models.call_form import Tree

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
BOUND = "almaflow.bound"
"""Marks the graph that ``bind`` makes, among what PyTorch keeps of a graph module."""


@dataclass(frozen=True)
class Parameters:
    """The parameters of a model's call."""

    positional: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    """Those that may be given by name; a name may be here and in ``positional``."""
    required: tuple[str, ...] = ()
    """Those without a default."""
    any_position: bool = True
    any_name: bool = False

    @classmethod
    def of(cls, model: torch.nn.Module) -> Parameters:
        """Read them from the model's forward, or from its own ``__call__`` where it has one that names any.

        A model that does not say is taken for one that takes anything by position.
        """
        found = [_signature(model), _signature(model.forward)] if _own_call(model) else [_signature(model.forward)]
        read = [cls._from(signature) for signature in found if signature is not None]
        return next((each for each in read if each.positional or each.named), read[-1] if read else cls())

    @classmethod
    def _from(cls, signature: inspect.Signature) -> Parameters:
        every = signature.parameters.values()
        variable = {each.kind for each in every}
        fixed = [each for each in every if each.kind in {*_BY_POSITION, *_BY_NAME}]
        return cls(
            tuple(each.name for each in fixed if each.kind in _BY_POSITION),
            tuple(each.name for each in fixed if each.kind in _BY_NAME),
            tuple(each.name for each in fixed if each.default is each.empty),
            inspect.Parameter.VAR_POSITIONAL in variable,
            inspect.Parameter.VAR_KEYWORD in variable,
        )

    def __str__(self) -> str:
        by_name_only = [name for name in self.named if name not in self.positional]
        parts = [*self.positional, *(["*args"] if self.any_position else ["*"] if by_name_only else []), *by_name_only]
        return f"forward({', '.join([*parts, *(['**kwargs'] if self.any_name else [])])})"


def _signature(function: Any) -> inspect.Signature | None:
    if schema := getattr(function, "schema", None):  # of a scripted module
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        given = [
            (each.name, each.default_value if each.has_default_value() else inspect.Parameter.empty)
            for each in schema.arguments[1:]
        ]
        return inspect.Signature([inspect.Parameter(name, kind, default=default) for name, default in given])
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # compiled code does not say
        return None


def arrange(given: Sequence[tuple[str | None, Tree]], parameters: Parameters, origin: str) -> CallForm:
    """Decide which parameter each input reaches, as a call in Python does.

    Inputs without a name are given by position, the others by name. What may as well be given by position is, since
    most converters take nothing else. Where the model names no parameters (``*args``), names are labels.

    Args:
        given: The inputs, with their names if they have one.
        parameters: Those of the model's call.
        origin: The configuration key or argument that the names came from, for the messages.

    Raises:
        UsageError: a name is none of the parameters, or an input would be given twice.
    """
    known = {*parameters.positional, *parameters.named}
    if not known and not parameters.any_name:
        return _form([tree for _, tree in given], {}, [label for label, _ in given])
    args = [tree for name, tree in given if name is None]
    kwargs: dict[str, Tree] = {}
    for name, tree in given:
        if name is None:
            continue
        if name not in known and not parameters.any_name:
            near = get_close_matches(name, known, n=3, cutoff=0.4)
            nearest = f"; nearest: {', '.join(near)}" if near else ""
            message = f"{origin}: {parameters} takes no {name!r}{nearest}"
            raise UsageError(message)
        if name in kwargs or name in parameters.positional[: len(args)]:
            message = f"{origin}: {name!r} is given twice; inputs without a name take the first places of {parameters}"
            raise UsageError(message)
        kwargs[name] = tree
    if args and not parameters.positional and not parameters.any_position:
        message = f"{origin}: {parameters} takes its inputs by name only; name them, as in model.inputs.0.name=x"
        raise UsageError(message)
    labels: list[str | None] = list(parameters.positional[: len(args)])
    for parameter in parameters.positional[len(args) :]:
        if parameter not in kwargs:
            break
        args.append(kwargs.pop(parameter))
        labels.append(parameter)
    return _form(args, kwargs, labels)


def _form(args: Sequence[Tree], kwargs: dict[str, Tree], labels: Sequence[str | None]) -> CallForm:
    padded = [*labels, *[None] * (len(args) - len(labels))]
    found: dict[int, str] = {}
    for number, (tree, label) in enumerate(zip(args, padded, strict=True)):
        found.update(places(tree, label or f"input_{number}"))
    for name, tree in kwargs.items():
        found.update(places(tree, name))
    return CallForm(tuple(args), kwargs, tuple(found[index] for index in sorted(found)))


def bind(model: torch.nn.Module, form: CallForm) -> torch.nn.Module:
    """Return a module that takes the tensors of a batch by position, whatever the model's own call is like.

    This is the model itself, unless it takes something else than tensors by position, or its call does more than its
    forward (hooks on the model itself, a ``__call__`` of its own), which most converters would lose. Else it is a
    graph of one call, whose parameters have the inputs' names: converters script, trace and export it.
    """
    if form.is_flat and not _call_differs(model):
        return model
    graph = torch.fx.Graph()
    inputs = [graph.placeholder(name) for name in _identifiers(form.names)]

    def build(kind: type, fields: dict[str, Any]) -> torch.fx.Node:
        return graph.call_function(kind, (), fields)

    args = tuple(filled(tree, inputs, build) for tree in form.args)
    kwargs = {name: filled(tree, inputs, build) for name, tree in form.kwargs.items()}
    graph.output(graph.call_module("model", args, kwargs))
    bound = torch.fx.GraphModule({"model": model}, graph, "Bound")
    bound.training = model.training  # of this module alone: `train` would set the model's parts alike
    bound.meta[BOUND] = True
    return bound


def unbound(model: torch.nn.Module) -> torch.nn.Module:
    """Return the caller's own module that ``bind`` has wrapped, or the module itself."""
    while getattr(model, "meta", {}).get(BOUND):
        model = model.get_submodule("model")
    return model


def _identifiers(names: Sequence[str]) -> list[str]:
    """Return a distinct Python name for each input."""
    taken = {"self", "model"}
    made = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"input_{plain}"
        while plain in taken:
            plain += "_"
        taken.add(plain)
        made.append(plain)
    return made


def _own_call(model: torch.nn.Module) -> bool:
    generated = isinstance(model, torch.fx.GraphModule | torch.jit.ScriptModule)  # their call is their forward
    return type(model).__call__ is not torch.nn.Module.__call__ and not generated


def _call_differs(model: torch.nn.Module) -> bool:
    hooks = model._forward_hooks or model._forward_pre_hooks  # noqa: SLF001 - PyTorch has no public place for them
    return bool(hooks) or _own_call(model)
