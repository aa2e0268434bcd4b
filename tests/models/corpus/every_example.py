"""All examples of the corpus, which importing this module puts on the list."""

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
from tests.models.corpus.example import CORPUS

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

__all__ = ["CORPUS", "KINDS"]
