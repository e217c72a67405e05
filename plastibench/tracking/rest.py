"""Ask an MLflow server, by its REST interface and without mlflow: importing that takes seconds."""

from __future__ import annotations

import base64
import json
import os
import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from plastibench.tracking.server import PATIENCE_SECONDS


def post(uri: str, what: str, body: Mapping[str, Any], seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """Return the answer to a question such as `runs/search`. Raises OSError or ValueError."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/api/2.0/mlflow/{what}", "", ""))
    headers = {"Content-Type": "application/json", **_login(parts.username, parts.password)}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=seconds, context=_context(parts.scheme)) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def _login(name: str | None, password: str | None) -> dict[str, str]:
    """Return who asks, from the address or from the variables that MLflow reads itself."""
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    name = unquote(name) if name else os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = unquote(password) if password else os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        coded = base64.b64encode(f"{name}:{password}".encode()).decode()
        return {"Authorization": f"Basic {coded}"}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _context(scheme: str) -> ssl.SSLContext | None:
    if scheme != "https":
        return None
    context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
