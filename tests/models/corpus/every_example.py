"""All examples of the corpus, which importing this module puts on the list."""

from fnmatch import fnmatchcase

from tests.models.corpus import (
    attention,
    control_flow,
    convolutional,
    detection,
    dtypes,
    families,
    inputs,
    memory,
    outputs,
    quantisation,
    random,
    recurrent,
    shapes,
    state,
)
from tests.models.corpus.example import CORPUS, Example

KINDS = {
    module.__name__.rpartition(".")[2]: (module.__doc__ or "").splitlines()[0]
    for module in (
        state,
        random,
        control_flow,
        inputs,
        outputs,
        memory,
        dtypes,
        shapes,
        quantisation,
        detection,
        attention,
        recurrent,
        convolutional,
        families,
    )
}
"""The first line of each module, by the name of the kind."""


def examples(*patterns: str) -> list[Example]:
    """The examples whose name or kind is one of these, with * for anything, kind by kind."""
    order = list(KINDS)
    found = [e for e in CORPUS.values() if any(fnmatchcase(n, p) for n in (e.name, e.kind) for p in patterns)]
    return sorted(found, key=lambda each: order.index(each.kind))


__all__ = ["CORPUS", "KINDS", "examples"]
