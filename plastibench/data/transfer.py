"""One transfer of one URL into one file: resumed where the server can, never left half counted."""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Protocol, cast
from urllib.parse import urlsplit

from plastibench.console import Advance, progress
from plastibench.version import __version__

TIMEOUT = 30.0
"""Seconds without a byte before a connection counts as dead."""
ATTEMPTS = 5
"""Connections that may break, one after another, before an address is given up."""

_SCHEMES = ("http", "https", "file")
_BLOCK = 1 << 20


class TransferError(Exception):
    """An address that does not give the file; the message is a short reason."""


class _BrokenError(TransferError):
    """A connection that ended early, after it had brought something."""


class _Response(Protocol):
    headers: http.client.HTTPMessage

    def read(self, amount: int) -> bytes: ...
    def close(self) -> None: ...


def receive(url: str, part: Path, size: int | None) -> None:
    """Fill `part` with what `url` holds, continuing after the bytes already there.

    `size`, in bytes, is for the progress bar only. Raises `TransferError` when the address does
    not give the file (what came stays in `part`), `OSError` when the file system does not take it.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise TransferError(f"scheme {scheme!r} is not one of {', '.join(_SCHEMES)}")
    label = f"downloading {url}"
    with part.open("r+b") as stream, progress(label, size, count_bytes=True) as advance:
        start = stream.seek(0, os.SEEK_END)
        advance(start)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _receive_once(url, stream, advance)
                break
            except _BrokenError:
                if attempt == ATTEMPTS:
                    raise
        stream.flush()
        os.fsync(stream.fileno())


def _receive_once(url: str, stream: IO[bytes], advance: Advance) -> None:
    """Append the rest of `url` to `stream`, or the whole of it to an emptied `stream`."""
    start = stream.tell()
    response = _open(url, start)
    if response is None:
        # Nothing lies after `start`: either all is here, or these bytes are of something else.
        return
    try:
        if start and not _continues(response, start):
            stream.seek(0)
            stream.truncate()
            advance(-start)
        length = response.headers.get("Content-Length")
        wanted = None if length is None else int(length)
        _copy(response, stream, wanted, advance)
    finally:
        response.close()


def _copy(response: _Response, stream: IO[bytes], wanted: int | None, advance: Advance) -> None:
    """Copy the body; a body shorter than announced is a broken connection."""
    received, reason = 0, ""
    while True:
        try:
            block = response.read(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            block, reason = b"", f" ({error})"
        if not block:
            break
        stream.write(block)
        received += len(block)
        advance(len(block))
    if reason or (wanted is not None and received < wanted):
        said = f"the connection broke after {received} of {wanted or 'unknown'} bytes{reason}"
        raise _BrokenError(said) if received else TransferError(said)


def _continues(response: _Response, start: int) -> bool:
    """Return whether the body begins at byte `start` of the file, by what the server says."""
    said = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return said is not None and int(said[1]) == start


def _open(url: str, start: int) -> _Response | None:
    """Connect; None when the server has nothing from byte `start` on."""
    headers = {"User-Agent": f"plastibench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        code = error.code
        error.close()
        if code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return None
        raise TransferError(f"the server answers {code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise TransferError(str(reason)) from error
    return cast(_Response, response)


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for the allowed schemes alone, so that no redirection leads out of them."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.FileHandler(),
    ):
        opener.add_handler(handler)
    return opener
