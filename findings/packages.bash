# Sourced by each script: `use SET` makes the environment of that set, or takes it from $FINDINGS_ENV, moves to a
# temporary folder, and sets $python.
use() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    local environment; environment=$(realpath -m "${FINDINGS_ENV:-$work}/$1")  # the folder changes below
    local -A packages=(
        [runtimes]='torch==2.14.1 torchao==0.18.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.31.1
            openvino==2026.4.1 executorch==1.5.1'
        [onnx]='onnx==1.23.2 onnxruntime==1.31.1'
        [mlflow]='mlflow==3.17.2'
    )
    # The stamp is made last: an environment without one is half-made.
    if [ ! -e "$environment/made" ]; then
        rm -rf "$environment"
        "${PYTHON:-python3}" -m venv "$environment"
        # shellcheck disable=SC2086 # one word for each package
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check ${packages[$1]} 2>"$work/pip.log" ||
            { cat "$work/pip.log" >&2; return 1; }
        touch "$environment/made"
    fi
    python=$environment/bin/python
    export PATH=$environment/bin:$PATH PYTHONWARNINGS=ignore
    cd "$work"
}
