#!/bin/sh
# Measure models beside their predictions, and fail where a prediction is too far off or got worse.
#
# MLFLOW_TRACKING_URI has to name a store that outlives the job: accuracy over time needs earlier nights. Exit codes are
# almaflow's own: 0 all is well, 1 a job failed, 2 wrong input, 3 an accuracy alert.
set -eu

models=${MODELS:-resnet18,mobilenet_v2}
limit=${LIMIT_PCT:-25}
measure=${MEASURE:-default}
predictions=${PREDICTIONS:-$(dirname "$0")/predictions.csv}

almaflow run -m "model=$models" tier=1 "measure=$measure" experiment_name=nightly strict=true \
    predictor=given "predictor.given.path=$predictions"

almaflow accuracy --experiment nightly --track
almaflow accuracy --experiment nightly --html accuracy.html --fail-above "$limit" --fail-on-regression
