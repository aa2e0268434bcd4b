#!/usr/bin/env bash
# Versions: mlflow 3.17.2
# Behaviour: ScoringServerClient.invoke takes "a dict of numpy arrays" by its documentation, and fails on each: it goes
#   through the characters of the names, before anything is sent.
# Seen: {"image": array} raises ValueError, too many values to unpack (expected 2); {"x1": array} raises MlflowException,
#   incompatible input type str for input x.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use mlflow
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import numpy
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", 9)  # no server is needed: nothing is sent
array = numpy.array([[0.5, 1.5]], dtype="float32")
for name, expected in (("image", "too many values to unpack"), ("x1", "for input x")):
    try:
        client.invoke({name: array})
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
        assert expected in str(error), error
    else:
        raise SystemExit("a dict of arrays is sent")
PYTHON
