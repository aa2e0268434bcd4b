#!/usr/bin/env bash
# Versions: mlflow 3.17.2, store sqlite
# Behaviour: search_logged_models with the filter status = 'READY' finds no model although one has this status: the
#   store compares the word with the number that it keeps.
# Seen: the model's status is READY; without a filter it is found, with the filter it is not.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use mlflow
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import mlflow

mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
model = client.create_logged_model("0", name="model")
client.finalize_logged_model(model.model_id, "READY")
(found,) = client.search_logged_models(["0"])
filtered = client.search_logged_models(["0"], filter_string="status = 'READY'")
print("status:", found.status, "- found by status:", len(filtered))
assert str(found.status).endswith("READY") and len(filtered) == 0
PYTHON
