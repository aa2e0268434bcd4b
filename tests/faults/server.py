"""MLflow's own server, in a fork of the zygote, with faults between it and its clients."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

HANGS_FOR_S = 120.0


class Troubled:
    """An application that answers as a file says, read for every request.

    The file has a list of ``[kind, words, first, count]``: what happens to ``count`` requests, 0 for all, whose method
    and path have the words in them, from the ``first`` one on.
    """

    def __init__(self, application: Any, rules: Path) -> None:
        self._application, self._rules = application, rules
        self._seen: dict[str, int] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        for kind, words, first, count in json.loads(self._rules.read_text(encoding="utf-8")):
            if words not in asked:
                continue
            key = f"{kind} {words}"
            number = self._seen[key] = self._seen.get(key, 0) + 1
            if number >= first and (not count or number < first + count):
                return self._trouble(kind, environ, start_response)
        return self._answer(environ, start_response)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer

    def _trouble(self, kind: str, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if kind in {"lose", "slow"}:  # the request is done
            time.sleep(0.3 if kind == "slow" else 0)
            statuses: list[Any] = []
            body = b"".join(self._application(environ, lambda *given: statuses.append(given)))
            if kind == "slow":
                start_response(*statuses[-1][:2])
                return [body]
        if kind in {"lose", "drop"}:
            raise ConnectionError(kind)
        if kind == "hang":
            time.sleep(HANGS_FOR_S)
            raise ConnectionError(kind)
        if kind == "html":
            start_response("200 OK", [("Content-Type", "text/html")])
            return [b"<html><body>Please log in</body></html>"]
        start_response(f"{kind} no", [("Content-Type", "text/plain")])
        return [b"no"]


def serve_mlflow(port: str, store: str, artifacts: str, rules: str) -> None:
    """Serve until killed."""
    from mlflow.server import app, handlers
    from mlflow.server.constants import (
        ARTIFACT_ROOT_ENV_VAR,
        ARTIFACTS_DESTINATION_ENV_VAR,
        BACKEND_STORE_URI_ENV_VAR,
        SERVE_ARTIFACTS_ENV_VAR,
    )  # fmt: skip
    from werkzeug.serving import make_server

    os.environ |= {
        BACKEND_STORE_URI_ENV_VAR: store,
        ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # its lines have the addresses that were asked for
    handlers.initialize_backend_stores(store, store, "mlflow-artifacts:/")
    make_server("127.0.0.1", int(port), Troubled(app, Path(rules)), threaded=True).serve_forever()
