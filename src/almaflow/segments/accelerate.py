"""``almaflow.accelerate``: marks a function or a module whose calls a profiling session records."""

from __future__ import annotations

import contextlib
import copy
import copyreg
import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, SupportsIndex, TypeVar, overload

from almaflow.errors import UsageError
from almaflow.segments.clock import RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

F = TypeVar("F", bound="Callable[..., Any]")


class OpenSession(Protocol):
    """What runs the calls of marked functions while it is open."""

    profile_id: str

    @property
    def is_here(self) -> bool:
        """Whether this process opened it, and not one that this process was forked from."""

    def call(self, function: Accelerated, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a marked function."""


@dataclass
class Active:
    """The session that is open in this process, in whatever thread."""

    session: OpenSession | None = None


ACTIVE = Active()


@dataclass(frozen=True, eq=False)
class Accelerated:
    """A function whose calls are recorded."""

    name: str
    run: Callable[..., Any]
    """The function as it was decorated."""
    dynamic: bool | None
    file: str
    line: int

    @property
    def traced(self) -> Callable[..., Any]:
        """What PyTorch looks for graphs in: the function without a ``torch.compile`` around it."""
        original: Callable[..., Any] = getattr(self.run, "_torchdynamo_orig_callable", self.run)
        return original


class MarkedModule:
    """A module whose ``forward`` is recorded: its class has this one and the module's own as bases."""

    marked_class: ClassVar[type]
    """The class of the module before it was marked."""

    def __init_subclass__(cls, **_: Any) -> None:
        """Make the class without the module's ``__init_subclass__``, which may register it or need arguments."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Reduce as the class that it was: a file of it can be read by that name, without almaflow."""
        with self._unmarked():
            reduced = self.__reduce_ex__(protocol)
        if isinstance(reduced, tuple) and reduced[0] is copyreg.__newobj__:  # type: ignore[attr-defined] # not in typeshed
            # By that name pickle looks whether the class is still the object's own.
            return (reduced[1][0].__new__, *reduced[1:])
        return reduced

    def __copy__(self) -> Any:
        """Copy, and mark the copy."""
        with self._unmarked() as marked:
            return _as(marked, copy.copy(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy, and mark the copy."""
        with self._unmarked() as marked:
            return _as(marked, copy.deepcopy(self, memo))

    @contextlib.contextmanager
    def _unmarked(self) -> Iterator[type]:
        marked = type(self)
        _as(marked.marked_class, self)
        try:
            yield marked
        finally:
            _as(marked, self)


def _as(kind: type, module: Any) -> Any:
    object.__setattr__(module, "__class__", kind)  # a module's own __setattr__ may do anything
    return module


@overload
def accelerate(target: F, /, *, dynamic: bool | None = None, name: str | None = None) -> F: ...


@overload
def accelerate(*, dynamic: bool | None = None, name: str | None = None) -> Callable[[F], F]: ...


def accelerate(
    target: Callable[..., Any] | None = None, /, *, dynamic: bool | None = None, name: str | None = None
) -> Callable[..., Any]:
    """Mark a function or a module: a session of ``almaflow.profile`` records its calls.

    Outside of a session it runs as it is. A call inside of another marked function's call is a part of that call.

    Example::

        @almaflow.accelerate
        def predict(text):
            return model(**tokenizer(text, return_tensors="pt")).logits.argmax(-1).item()

        with almaflow.profile("local/tier2") as session:
            for text in texts:
                predict(text)

    Args:
        target: A function, a method, or a module, which is returned itself and whose ``forward`` is recorded.
        dynamic: Whether graphs are to stand for all sizes from their first call on; None: once a size has changed.
        name: The name in the report; by default that of the function or of the module's class.

    Raises:
        UsageError: it is a generator, a coroutine, or nothing that can be called.
    """
    if target is None:
        return functools.partial(accelerate, dynamic=dynamic, name=name)
    if _is_module(target):
        kind: Any = getattr(target, "marked_class", type(target))  # to mark it again changes the settings
        if hasattr(target, "_orig_mod"):
            message = f"accelerate({kind.__name__}): torch.compile is around the module; mark the module inside of it"
            raise UsageError(message)
        forward = accelerate(kind.forward, dynamic=dynamic, name=name or kind.__name__)
        # A class of its own: a function on the instance would be shared by its copies, and run with its weights.
        names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
        marked_kind = type(kind.__name__, (MarkedModule, kind), {"forward": forward, "marked_class": kind, **names})
        _as(marked_kind, target)
        return target
    _check(target)
    code = getattr(inspect.unwrap(target), "__code__", None)
    file, line = (code.co_filename, code.co_firstlineno) if code else ("", 0)
    label = name or getattr(target, "__qualname__", type(target).__name__).rpartition("<locals>.")[2]
    marked = Accelerated(label, target, dynamic, file, line)

    @functools.wraps(target)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        session = ACTIVE.session
        if session is None or RUNNING.get() is not None or not session.is_here:
            return target(*args, **kwargs)
        return session.call(marked, args, kwargs)

    # Where PyTorch traces a call of it, it goes on with the function itself.
    recorded._torchdynamo_inline = target  # type: ignore[attr-defined]  # noqa: SLF001 - dynamo's name
    return recorded


def _is_module(target: object) -> bool:
    """Whether it is a PyTorch module; nothing is one where PyTorch was never imported."""
    return any(
        f"{kind.__module__}.{kind.__qualname__}" == "torch.nn.modules.module.Module" for kind in type(target).__mro__
    )


def _check(target: object) -> None:
    name = getattr(target, "__qualname__", type(target).__name__)
    if isinstance(target, staticmethod | classmethod):
        message = f"accelerate({name}): stands above @{type(target).__name__}; put it directly above the function"
    elif not callable(target) or inspect.isclass(target):
        what = "a class" if inspect.isclass(target) else f"a {type(target).__name__}"
        message = f"accelerate: got {what}, and takes a function or a torch.nn.Module"
    elif inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        message = f"accelerate({name}): is a generator, whose time goes on between its values; decorate what it calls"
    elif inspect.iscoroutinefunction(target):
        message = f"accelerate({name}): is a coroutine, which others run between its parts; decorate what it calls"
    else:
        return
    raise UsageError(message)
