"""MLflow's page on a home folder: light, on this machine alone, stopped as a whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from typing import IO

from plastibench import tracking
from plastibench.errors import RequestError
from plastibench.tracking import TrackingServer

HOST = "127.0.0.1"
PATIENCE_SECONDS = 120.0


def serve(place: TrackingServer, port: int, say: Callable[[str], None]) -> int:
    """Start the page on a database, print its address once it answers, wait until Ctrl-C; return a status.

    Raises RequestError where there is no database, or the port is taken.
    """
    if not tracking.is_available():
        raise RequestError("mlflow is not installed: there is no page to open")
    if not place.is_database:
        raise RequestError(f"{place.display_uri} is a server with a page of its own: open it in a browser")
    if place.sqlite_path is not None and not place.sqlite_path.is_file():
        raise RequestError(f"no MLflow store in {place.sqlite_path.parent}: `plastibench run` makes one")
    port = _free_port(port)
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            _command(place, port), env=_environment(), start_new_session=True, stdout=log, stderr=log
        )
        try:
            if _answers(server, port):
                say(f"MLflow: http://{HOST}:{port} (Ctrl-C to stop)")
                for name, link in tracking.leaderboard_links(place):
                    say(f"  {name}, best first: http://{HOST}:{port}/{link}")
            status = server.wait()
            raise RequestError(f"MLflow's server ended with exit status {status}: {_last_line(log)}")
        except KeyboardInterrupt:
            return 0
        finally:
            _stop(server)


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _command(place: TrackingServer, port: int) -> list[str]:
    words = [
        "ui",
        "--backend-store-uri",
        place.uri,
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


def _free_port(wanted: int) -> int:
    """Return the port, or any that is free for 0. Raises RequestError for one that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise RequestError(
                f"port {wanted} cannot be used: {error.strerror} (leave --port out)"
            ) from error
        return int(probe.getsockname()[1])


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; return False where it ends instead."""
    # Without a proxy: one that the user has set for the network would not find this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + PATIENCE_SECONDS
    while server.poll() is None:
        try:
            with opener.open(f"http://{HOST}:{port}/health", timeout=2):
                return True
        except OSError:
            time.sleep(0.2)
        if time.monotonic() > end:
            raise RequestError(f"MLflow's server did not answer within {PATIENCE_SECONDS:.0f} s")
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and every process it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sign)  # the group outlives its first process
        except ProcessLookupError:
            break
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
