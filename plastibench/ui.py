"""MLflow's page on a home folder: light, on this machine alone, stopped as a whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from plastibench import tracking
from plastibench.errors import RequestError

HOST = "127.0.0.1"
PATIENCE_SECONDS = 60.0


def serve(home: Path, port: int, say: Callable[[str], None]) -> int:
    """Start the server, print its address once it answers, wait until it ends or Ctrl-C; return a status."""
    if not tracking.available():
        raise RequestError("mlflow is not installed: there is no page to open")
    if not (home / "mlflow.db").is_file():
        raise RequestError(f"no MLflow store in {home}: `plastibench run` makes one")
    port = port or _free_port()
    server = subprocess.Popen(_command(home, port), env=_environment(), start_new_session=True)
    try:
        _wait_for(server, port)
        say(f"MLflow: http://{HOST}:{port} (Ctrl-C to stop)")
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


def _command(home: Path, port: int) -> list[str]:
    words = [
        "ui",
        "--backend-store-uri",
        tracking.uri(home),
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    return [sys.executable, "-m", "mlflow", *words]


def _environment() -> dict[str, str]:
    # Job execution starts a dozen processes for features that nothing here uses.
    return {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RequestError(f"MLflow's server ended at once with exit status {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RequestError(f"MLflow's server did not answer within {PATIENCE_SECONDS:.0f} s")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and every process it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is not None:
            return
        os.killpg(server.pid, sign)
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
