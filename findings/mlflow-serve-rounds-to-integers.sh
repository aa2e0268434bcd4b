#!/usr/bin/env bash
# Versions: mlflow 3.17.2
# Behaviour: mlflow models serve takes 1.5 for an input that the signature of the model calls int64, passes 1 to the
#   model and answers 200.
# Seen: 1.5 is answered with 1, the type that the model got is int64.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use mlflow
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

import mlflow
import numpy
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]

with open("echo.py", "w") as file:
    file.write("""
import mlflow

class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return {"type": str(model_input.dtype), "values": model_input.tolist()}

mlflow.models.set_model(Echo())
""")
signature = ModelSignature(inputs=Schema([TensorSpec(numpy.dtype("int64"), (-1,))]))
mlflow.pyfunc.save_model("model", python_model="echo.py", signature=signature)
command = ["mlflow", "models", "serve", "-m", "model", "--env-manager", "local", "-p", str(port), "-w", "1"]
server = subprocess.Popen(command, stdout=open("server.log", "w"), stderr=subprocess.STDOUT, start_new_session=True)
body = json.dumps({"inputs": [1.5]}).encode()
request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
try:
    for _ in range(120):
        time.sleep(1)
        try:
            answer = json.load(urllib.request.urlopen(request, timeout=60))
            break
        except ConnectionRefusedError:
            pass
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{error.code}: {error.read().decode()[:300]}")
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
    else:
        raise SystemExit(open("server.log").read())
finally:
    os.killpg(server.pid, signal.SIGTERM)
    server.wait()
print("1.5 became", answer)
assert "int64" in json.dumps(answer) and "1.5" not in json.dumps(answer)
PYTHON
