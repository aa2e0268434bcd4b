#!/usr/bin/env bash
# Versions: mlflow 3.17.2, store sqlite
# Behaviour: a metric of a logged model that is NaN comes back as 0.0, so that a figure that is missing looks like the
#   best one: in ascending order it comes first. The same metric of a run comes back as NaN.
# Seen: logged 5.0 and NaN; read 5.0 and 0.0, and the model with NaN is the first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use mlflow
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import math

import mlflow

mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
run = client.create_run("0").info.run_id
models = []
for value in (5.0, math.nan):
    models.append(client.create_logged_model("0", name="model", source_run_id=run).model_id)
    client.log_metric(run, "latency_ms", value, model_id=models[-1])
read = [client.get_logged_model(model).metrics[0].value for model in models]
ordered = client.search_logged_models(["0"], order_by=[{"field_name": "metrics.latency_ms", "ascending": True}])
first = ordered[0].model_id == models[1]
print("logged 5.0 and nan, read", *read, "- nan comes first:", first)
assert read == [5.0, 0.0] and first
assert math.isnan(client.get_run(run).data.metrics["latency_ms"])
PYTHON
