#!/bin/sh
# Measure a model before and after a change, one after the other on this machine, and fail where it became slower.
#
# BASE is the commit that the change is compared with. Both are measured here and now: figures of another day or another
# machine would say nothing about the change. Exit codes are almaflow's own: 0 all is well, 1 a job failed, 2 wrong
# input or no verdict, 3 the gate failed. comment.md is for the pull request.
set -eu

base=${BASE:-origin/main}
model=${MODEL:-resnet18}
tier=${TIER:-2}
limit=${LIMIT_PCT:-5}
measure=${MEASURE:-thorough}

measured() { # the directory to measure in, and the file for the result; prints the job's ID
    (cd "$1" && almaflow run "model=$model" "tier=$tier" "measure=$measure" experiment_name=gate "output=$2") >&2
    python -c 'import json, sys; print(json.load(open(sys.argv[1]))["job_id"])' "$2"
}

here=$(pwd)
before=$(mktemp -d)
trap 'git worktree remove --force "$before/tree" || true; rm -rf "$before"' EXIT
git worktree add --quiet --detach "$before/tree" "$base"

first=$(measured "$before/tree" "$before/base.json")
second=$(measured "$here" "$before/head.json")
almaflow compare "$first" "$second" --fail-above "$limit" --metric latency/floor --format markdown >comment.md
