"""Servers that ask for a login: all that MLflow's client takes works for every command."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.commands import SMALL, command
from support.servers import mlflow_server
from support.tracking import a_record, save
from support.workers import free_port

pytest.importorskip("flask_wtf", reason="flask-wtf is not installed: MLflow's server cannot ask for a login")
pytestmark = pytest.mark.heavy

PASSWORD = "correct horse: battery@staple"
PLUGIN = """
from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
from requests.auth import HTTPBasicAuth

class Vault(RequestAuthProvider):
    def get_name(self):
        return "vault"

    def get_auth(self):
        return HTTPBasicAuth("admin", {password!r})
"""
COMMANDS = """
import sys
from plastibench.cli.main import cli
home, uri = sys.argv[1:]
for words in (["sync", "--home", home, "--tracking-uri", uri], ["table", "--from", uri]):
    cli.main(words, standalone_mode=False)
"""


@dataclass(frozen=True)
class SecureServer:
    """A server over TLS that wants a client's certificate and a login."""

    uri: str
    certificate: Path
    """Of the server; it is also the authority that signs clients, and, with its key, a client."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *words], check=True, capture_output=True)
    certificate.write_text(certificate.read_text() + key.read_text())
    tls = f"--ssl-keyfile {key} --ssl-certfile {certificate} --ssl-ca-certs {certificate} --ssl-cert-reqs 2"
    context = ssl.create_default_context(cafile=str(certificate))
    context.load_cert_chain(certificate)
    options = ("--app-name", "basic-auth", "--uvicorn-opts", tls)
    variables = {
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "x",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'server.db'}",
    }
    with mlflow_server(folder, port, *options, context=context, **variables):
        yield SecureServer(f"https://127.0.0.1:{port}", certificate)


@pytest.fixture
def certificates(server: SecureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(server.certificate))
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(server.certificate))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def check_commands(server: SecureServer, home: Path, seed: int) -> None:
    """Check that runs can be written to the server and read from it."""
    save(home, a_record(seed))
    words = ("--home", home, "--tracking-uri", server.uri)
    answer = command("sync", *words)
    assert (answer.status, "1 of 1 run brought up to date" in answer.err) == (0, True), answer
    table = command("table", "--home", "/nowhere", "--from", server.uri, "--format", "csv")
    assert (table.status, "mine" in table.out) == (0, True), table


@pytest.mark.usefixtures("certificates")
@pytest.mark.slow
def test_credentials_file_works_for_every_command(server: SecureServer, tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        f"[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = {PASSWORD}\n"
    )
    check_commands(server, tmp_path / "home", 0)
    words = ("--home", tmp_path / "live", "--tracking-uri", server.uri, "--method", "warm")
    answer = command("run", *SMALL, "--seeds", 1, *words)
    assert (answer.status, "MLflow: 1 run added to https://" in answer.err) == (0, True), answer


@pytest.mark.usefixtures("certificates")
@pytest.mark.slow
def test_plugin_for_logins_works(
    server: SecureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = "[mlflow.request_auth_provider]\nvault = vault_of_a_test:Vault\n"
    (tmp_path / "vault_of_a_test.py").write_text(PLUGIN.format(password=PASSWORD))
    (tmp_path / "vault-1.dist-info").mkdir()
    (tmp_path / "vault-1.dist-info" / "entry_points.txt").write_text(entry)
    (tmp_path / "vault-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vault\nVersion: 1\n"
    )
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "MLFLOW_TRACKING_AUTH": "vault", "PYTHONPATH": os.pathsep.join(paths)}
    home = tmp_path / "home"
    save(home, a_record(1))
    # In a process of its own: MLflow looks for plug-ins once, when it is imported.
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(home), server.uri],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert "mine" in done.stdout


@pytest.mark.usefixtures("certificates")
def test_variables_work_and_a_wrong_login_is_one_line(
    server: SecureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-w0rd")
    for words in (("sync", "--tracking-uri", server.uri), ("table", "--from", server.uri)):
        save(tmp_path / "home", a_record(2))
        refused = command(*words, "--home", tmp_path / "home")
        assert (refused.status, len(refused.lines())) == (2, 1), refused
        assert "wrong-w0rd" not in refused.err
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    check_commands(server, tmp_path / "home", 2)
    monkeypatch.delenv("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    refused = command("table", "--from", server.uri)
    assert (refused.status, len(refused.lines())) == (2, 1), refused
