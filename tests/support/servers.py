"""Real servers for tests, PostgreSQL and MLflow, on this machine alone, stopped with the test."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.tracking import empty_database


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server on a socket file; yield its address. Skips the test if none is installed."""
    tools = _postgres_tools()
    pytest.importorskip("psycopg", reason="psycopg is not installed: no driver for PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _user(folder)
    data = str(folder / "data")
    make = [str(tools / "initdb"), "-D", data, "-A", "trust", "-U", "me", "--no-sync", "-E", "UTF8"]
    subprocess.run(make, check=True, user=user, capture_output=True)
    start = [str(tools / "postgres"), "-D", data, "-k", str(folder), "-c", "listen_addresses=", "-F"]
    nowhere = subprocess.DEVNULL
    server = subprocess.Popen(start, user=user, stdout=nowhere, stderr=nowhere)
    try:
        wait(lambda: _create(folder), "PostgreSQL")
        yield f"postgresql://me@/bench?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # does not wait until every client has gone
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_tools() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    if not found[-1].name:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql): no real server to test on")
    return found[-1].parent


def _user(folder: Path) -> str | None:
    """Return the user to run as: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    shutil.chown(folder, "postgres")
    return "postgres"


def _create(folder: Path) -> bool:
    import psycopg

    try:
        with psycopg.connect(f"host={folder} user=me dbname=postgres", autocommit=True) as database:
            database.execute("CREATE DATABASE bench")
        return True
    except psycopg.OperationalError:
        return False


@contextmanager
def mlflow_server(
    folder: Path, port: int, *options: str, context: ssl.SSLContext | None = None, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's server with its data in a folder, over TLS if there is a context."""
    if not (folder / "server.db").exists():
        shutil.copy(empty_database(), folder / "server.db")
    words = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--workers", "1"]
    words += ["--port", str(port), "--host", "127.0.0.1"]
    if "--no-serve-artifacts" not in options:
        words += ["--artifacts-destination", str(folder / "artifacts")]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words, *options],
            env={**os.environ, **settings, **variables},
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
        )
    scheme = "http" if context is None else "https"
    try:
        wait(lambda: _answers(server, f"{scheme}://127.0.0.1:{port}/health", context), "MLflow's server")
        yield server
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Kill a server and all its processes."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, 9)
    server.wait()


def _answers(server: subprocess.Popen[bytes], address: str, context: ssl.SSLContext | None) -> bool:
    assert server.poll() is None, f"the server ended with exit status {server.returncode}"
    # Without proxies, which do not lead here.
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(address, timeout=2):
            return True
    except OSError:
        return False


def wait(ready: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Wait until a condition holds. Fails if it takes too long."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} did not start within {seconds:.0f} s"
        time.sleep(0.1)
