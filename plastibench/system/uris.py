"""Addresses of databases and servers: refused if their parts are unclear, shown without their passwords."""

import os
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote

from plastibench.errors import RequestError, explain

ADDRESS = re.compile(
    r"""(?P<file>sqlite[a-z+]*:///(?!:memory:)[^?]+)(\?.*)?
    |(?P<scheme>(?!sqlite)[a-z][a-z0-9+.-]*)://
     ((?P<user>[^\s:@/?\#\[\]]*)(:(?P<password>[^\s@/?\#\[\]]*))?@)?
     (?P<place>([^\s:@/?\#\[\]]*|\[[0-9a-f:.]*\])(:[0-9]*)?(/[^@?\#]*)?)
     (\?(?P<query>[^@\#]*))?""",
    re.IGNORECASE | re.VERBOSE,
)
"""Stricter than SQLAlchemy and requests, which read an address such as `db://me:p@ss:w@host` in two ways."""
UNPARSABLE = "*** (not an address such as sqlite:///file.db)"
HIDDEN = "***"
HARMLESS = ("host", "port", "user", "driver", "mode", "timeout", "connect_timeout", "sslmode", "charset")
"""Parts of a query that are no secret."""
SECRET_VARIABLES = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


def check_address(kind: str, uri: str) -> None:
    """Raise RequestError, which has nothing of the address, if its parts cannot be told apart."""
    if not ADDRESS.fullmatch(uri):
        raise RequestError(
            f"{kind} {UNPARSABLE} is not allowed: if it has a password, percent-encode its special "
            "characters (%40 for an at sign, %3A for a colon, %2F for a slash)"
        )


def without_password(uri: str) -> str:
    """Return an address without its login and query; nothing of a text that cannot be parsed."""
    match = ADDRESS.fullmatch(uri)
    if match is None:
        return UNPARSABLE
    login = "" if match["user"] is None else f"{HIDDEN}@"
    return match["file"] or f"{match['scheme']}://{login}{match['place']}"


def explain_without_password(error: BaseException, uri: str) -> str:
    """Return one line for the cause of an error that an address led to, without passwords."""
    match = ADDRESS.fullmatch(uri)
    if match is None:
        return str(error) if isinstance(error, RequestError) else type(error).__name__
    text = explain(_cause(error))
    for secret in sorted(_secrets(match), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _cause(error: BaseException) -> BaseException:
    """Return the error of the system or of a database that led to an error of MLflow's or Optuna's."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(error, RequestError):
        if isinstance(cause, OSError | ImportError) or type(cause).__name__ == "OperationalError":
            error = cause
        cause = cause.__cause__ or cause.__context__
    return error


def _secrets(address: re.Match[str]) -> Iterator[str]:
    """Yield the secrets of an address and of the environment in every spelling that an error may have."""
    pairs = (pair.partition("=") for pair in (address["query"] or "").split("&"))
    quoted = [address["password"] or "", *(value for key, _, value in pairs if key not in HARMLESS)]
    values = [*map(unquote, quoted), *(os.environ.get(name, "") for name in SECRET_VARIABLES)]
    yield from filter(None, quoted)
    for value in filter(None, values):
        yield from (value, quote(value), quote(value, safe=""), quote_plus(value), repr(value)[1:-1])
