"""Addresses never show their passwords."""

from __future__ import annotations

import pytest

from plastibench.system.uris import explain_without_password, without_password


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me@host/db"),
        ("postgresql://me:s3/c@ret@host/db", "postgresql://me@host/db"),
        ("postgresql:///db?user=me&password=s3cret", "postgresql:///db?user=me&password=***"),
        ("postgresql+psycopg://me@/db?host=/tmp/x", "postgresql+psycopg://me@/db?host=/tmp/x"),
        ("sqlite:////home/a:b@c/runs.db", "sqlite:////home/a:b@c/runs.db"),
    ],
)
def test_only_the_password_of_an_address_is_hidden(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


@pytest.mark.parametrize(
    "uri", ["postgresql://me:s3cr%65t@host/db", "http:///x?token=s3cr%65t", "me:s3cret@host", "s3cret"]
)
def test_no_error_shows_a_password(uri: str) -> None:
    line = explain_without_password(ValueError(f"bad address {uri}, s3cret, s3cr%65t"), uri)
    assert line.startswith("ValueError")
    assert "s3cret" not in line + without_password(uri)
    assert "s3cr%65t" not in line + without_password(uri)
