"""Addresses never show their passwords."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import SMALL, command

from plastibench.errors import RequestError, hide_logins
from plastibench.system.uris import check_address, explain_without_password, without_password

UNPARSABLE = (
    "postgresql://me:p@ss:hunter2@127.0.0.1:1/db",
    "postgresql://me:12/hunter2@127.0.0.1:1/db",
    "postgresql://me:12?hunter2@127.0.0.1:1/db",
    "postgresql://me:12#hunter2@127.0.0.1:1/db",
    "postgresql://me:p hunter2@127.0.0.1:1/db",
    "postgresql://me:[hunter2@127.0.0.1:1/db",
    "postgresql://me:hunter2",
    "http://me:p@ss:hunter2@127.0.0.1:1",
    "sqlite://me:hunter2@host/db",
)
"""Addresses whose password would be read, or printed, as something else."""


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://***@host/db"),
        ("postgresql://me:a:s3cret@[::1]:5432/db", "postgresql://***@[::1]:5432/db"),
        ("postgresql:///db?user=me&password=s3&cret", "postgresql:///db"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Ds3cret", "mssql+pyodbc:///"),
        ("http://s3cret@host/path", "http://***@host/path"),
        ("sqlite:////home/a:b@c/runs.db", "sqlite:////home/a:b@c/runs.db"),
    ],
)
def test_login_and_query_of_an_address_are_hidden(uri: str, shown: str) -> None:
    check_address("storage", uri)
    assert without_password(uri) == shown


@pytest.mark.parametrize(
    "uri", ["postgresql://me:s3cr%65t@host/db", "http:///x?token=s3cr%65t", "me:s3cret@host", "s3cret"]
)
def test_no_error_shows_a_password(uri: str) -> None:
    line = explain_without_password(ValueError(f"bad address {uri}, s3cret, s3cr%65t"), uri)
    assert line.startswith("ValueError")
    assert "s3cret" not in line + without_password(uri)
    assert "s3cr%65t" not in line + without_password(uri)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "no suite named 'postgresql://me:p@ss: hunter2@h/db'; see",
            "no suite named 'postgresql://***@h/db'; see",
        ),
        ("  at http://hunter2@h/x, mail a@b", "  at http://***@h/x, mail a@b"),
        ("x://h/db?user=me&password=hunter2' is", "x://h/db?user=me&password=***' is"),
        ("x://h/a?sig=hunter2&api_key=hunter2&key=hunter2", "x://h/a?sig=***&api_key=***&key=***"),
        ("http://h:5000/#/runs?viewStateShareKey=0a1b", "http://h:5000/#/runs?viewStateShareKey=0a1b"),
        ("http://127.0.0.1:5000 and me@host", "http://127.0.0.1:5000 and me@host"),
    ],
)
def test_logins_in_any_text_are_hidden(text: str, shown: str) -> None:
    assert hide_logins(text) == shown


def test_cause_of_an_error_is_shown_without_the_passwords_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret\n")
    error = ValueError("request failed")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused by 's3cret\\n'")
    assert explain_without_password(error, "http://host") == "Connection refused by '***'"


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_database_in_memory_is_refused(uri: str) -> None:
    with pytest.raises(RequestError, match="not an address"):
        check_address("storage", uri)


@pytest.mark.parametrize("uri", UNPARSABLE)
def test_nothing_of_an_unparsable_address_is_shown(uri: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_address("storage", uri)
    for text in (str(caught.value), without_password(uri), explain_without_password(ValueError(uri), uri)):
        assert "hunter2" not in text
        assert "127.0.0.1" not in text


@pytest.mark.parametrize("uri", UNPARSABLE[:2])
def test_no_command_shows_an_unparsable_address(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLASTIBENCH_TRACEBACK", "1")
    home = ("--home", tmp_path / "home")
    for words in (
        ("table", *home, "--from", uri),
        ("run", *home, *SMALL, "--tracking-uri", uri),
        ("sync", *home, "--tracking-uri", uri),
        ("ui", *home, "--tracking-uri", uri),
        ("tune", *home, *SMALL, "--task", "digits", "--trials", 1, "--storage", uri),
        ("tune", *home, "--report", "--storage", uri),
        ("table", *home, uri),  # in the wrong place
        ("run", *home, "--task", uri),
        ("run", *home, "--set", f"stages={uri}"),
    ):
        answer = command(*words)
        assert (answer.status, len(answer.lines())) == (2, 1), answer
        assert "hunter2" not in answer.out + answer.err
