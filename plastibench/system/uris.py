"""Addresses of databases and servers, shown without their passwords."""

from __future__ import annotations

import re
from urllib.parse import unquote

from plastibench.errors import explain

# By hand: urlsplit finds no password with a slash in it, and databases take those.
LOGIN = re.compile(r"([a-z][a-z0-9+.-]*://[^:@/]*):(.*)@", re.IGNORECASE | re.DOTALL)
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
SECRET_QUERY = re.compile(r"([?&;][^=&;]*(?:pass|pwd|token|secret|key)[^=&;]*=)([^&;]*)", re.IGNORECASE)
HIDDEN = "***"


def without_password(uri: str) -> str:
    """Return an address without its password; nothing of a text that is no address, which may be one."""
    if not ADDRESS.match(uri):
        return "*** (not an address such as sqlite:///file.db)"
    return SECRET_QUERY.sub(rf"\1{HIDDEN}", LOGIN.sub(r"\1@", uri))


def explain_without_password(error: BaseException, uri: str) -> str:
    """Return one line for an error that an address led to, without the password."""
    if not ADDRESS.match(uri):
        return type(error).__name__
    text, login = explain(error), LOGIN.match(uri)
    secrets = [login[2]] if login else []
    secrets += [match[2] for match in SECRET_QUERY.finditer(uri)]
    for secret in [*secrets, *map(unquote, secrets)]:
        if secret:
            text = text.replace(secret, HIDDEN)
    return text
