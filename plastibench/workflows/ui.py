"""MLflow's page on a home folder, on this machine alone."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from plastibench import tracking
from plastibench.errors import RequestError, require
from plastibench.tracking import TrackingServer

HOST = "127.0.0.1"
START_TIMEOUT = 120.0
"""Seconds until a server that does not answer is given up."""


@dataclass(frozen=True)
class MlflowPage:
    """MLflow's page while it is served."""

    address: str
    leaderboards: dict[str, str]
    """Address of each leaderboard, best run first."""
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def wait(self) -> None:
        """Wait until the server ends, which it does not do by itself. Raises RequestError then."""
        status = self.process.wait()
        raise RequestError(f"MLflow's server ended with exit status {status}: {_last_line(self.log)}")


@contextmanager
def serve(server: TrackingServer, port: int = 0) -> Iterator[MlflowPage]:
    """Serve MLflow's page on a database, on this machine alone, while inside; port 0 is any free one.

    Raises RequestError if there is no database, the port is taken, or the server does not start.
    """
    server = _servable(server)
    port = _free_port(port)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            _command(port), env=_environment(server), start_new_session=True, stdout=log, stderr=log
        )
        try:
            address = f"http://{HOST}:{port}"
            _wait_until_ready(process, address, log)
            links = {name: f"{address}/{link}" for name, link in tracking.leaderboard_links(server).items()}
            yield MlflowPage(address, links, process, log)
        finally:
            _stop(process)


def _servable(server: TrackingServer) -> TrackingServer:
    """Return the server, or its replacement if it is optional. Raises RequestError if there is no page."""
    database, problem = server.sqlite_path, None
    require("mlflow", "`ui`")
    if not server.is_database:
        problem = f"{server.display_uri} is a server with a page of its own: open it in a browser"
    elif database is not None and not database.is_file():
        problem = f"no MLflow database in {database.parent}: `plastibench run` makes one"
    if problem is None:
        return server
    if server.is_optional:
        return _servable(server.replacement(RequestError(problem)))
    raise RequestError(problem)


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def _command(port: int) -> list[str]:
    options = ["--host", HOST, "--port", str(port), "--workers", "1", *tracking.page_app_options()]
    return [sys.executable, "-m", "mlflow", "ui", *options]


def _environment(server: TrackingServer) -> dict[str, str]:
    # Job execution starts a dozen processes for features that are not used here. The address may have a
    # password, which other users would see among a program's arguments.
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return {**os.environ, **variables, "MLFLOW_BACKEND_STORE_URI": server.uri}


def _free_port(port: int) -> int:
    """Return the port, or any free one for 0. Raises RequestError if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RequestError(f"port {port} cannot be used: {error.strerror} (leave --port out)") from error
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: IO[bytes]) -> None:
    """Wait until the server answers. Raises RequestError if it ends or does not answer in time."""
    # Without a proxy: one that the user has set for the network would not find this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_TIMEOUT
    while process.poll() is None:
        try:
            with opener.open(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
        if time.monotonic() > end:
            raise RequestError(f"MLflow's server did not answer within {START_TIMEOUT:.0f} s")
    raise RequestError(f"MLflow's server ended with exit status {process.returncode}: {_last_line(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and every process it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)  # the group outlives its first process
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
