"""Requests to an MLflow server's REST interface, without mlflow, whose import takes seconds."""

from __future__ import annotations

import base64
import json
import os
import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 5.0


def post(
    uri: str, endpoint: str, body: Mapping[str, Any], timeout: float = TIMEOUT_SECONDS
) -> dict[str, Any]:
    """Return the response of an endpoint such as `runs/search`. Raises OSError or ValueError."""
    parts = urlsplit(uri)
    login = _authorization(parts.username, parts.password)
    address = parts._replace(
        netloc=parts.netloc.rpartition("@")[2],
        path=f"{parts.path.rstrip('/')}/api/2.0/mlflow/{endpoint}",
    )
    headers = {"Content-Type": "application/json", **({"Authorization": login} if login else {})}
    request = urllib.request.Request(address.geturl(), json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=timeout, context=_tls_context()) as response:
        content: dict[str, Any] = json.loads(response.read())
        return content


def _authorization(name: str | None, password: str | None) -> str | None:
    """Return the login of the address, or of the variables that MLflow reads too."""
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    name = unquote(name) if name else os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = unquote(password) if password else os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"
    return f"Bearer {token}" if token else None


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
