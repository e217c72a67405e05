"""Download of one URL into one file, resumed if the server supports it."""

import http.client
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.response import addinfourl

from plastibench.console import Advance, progress
from plastibench.system.uris import explain_without_password, without_password
from plastibench.version import __version__

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""
MAX_ATTEMPTS = 5
"""Lost connections after which a URL is given up."""

_SCHEMES = ("http", "https", "file")
_BLOCK_SIZE = 1 << 20


class DownloadError(Exception):
    """A URL does not give the file; the message is a short reason."""


class _ConnectionLostError(DownloadError):
    """A connection ended early, after it delivered something."""


def download(url: str, path: Path, size: int | None = None) -> None:
    """Append what is missing of the file at `url` to the part of it at `path`, which may be empty.

    `size` in bytes is for the progress bar only. Raises DownloadError if the URL does not give the file (what
    has arrived stays), OSError if it cannot be written.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise DownloadError(f"scheme {scheme!r} is not one of {', '.join(_SCHEMES)}")
    label = f"downloading {without_password(url)}"
    with path.open("r+b") as stream, progress(label, size, count_bytes=True) as advance:
        advance(stream.seek(0, os.SEEK_END))
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                _download_rest(url, stream, advance)
                break
            except _ConnectionLostError:
                if attempt == MAX_ATTEMPTS:
                    raise
        stream.flush()
        os.fsync(stream.fileno())


def _download_rest(url: str, stream: IO[bytes], advance: Advance) -> None:
    """Append the rest of the file, or replace the part if the server cannot continue it."""
    start = stream.tell()
    response = _open(url, start)
    if response is None:  # nothing follows: the file is complete, or it is another one
        return
    with response:
        if start and not re.match(rf"bytes {start}-", response.headers.get("Content-Range", "")):
            stream.seek(0)
            stream.truncate()
            advance(-start)
        _copy(response, stream, advance)


def _copy(response: addinfourl, stream: IO[bytes], advance: Advance) -> None:
    """Copy the body. One that is shorter than announced comes from a lost connection."""
    received, reason = 0, ""
    length = response.headers.get("Content-Length")
    while True:
        try:
            block = response.read(_BLOCK_SIZE)
        except (OSError, http.client.HTTPException) as error:
            block, reason = b"", f" ({error})"
        if not block:
            break
        stream.write(block)
        received += len(block)
        advance(len(block))
    if reason or (length is not None and received < int(length)):
        message = f"the connection was lost after {received} of {length or 'unknown'} bytes{reason}"
        raise _ConnectionLostError(message) if received else DownloadError(message)


def _open(url: str, start: int) -> addinfourl | None:
    """Open a URL at byte `start`; return None if the server has nothing from there on."""
    headers = {"User-Agent": f"plastibench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        response: addinfourl = _opener().open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return None
        raise DownloadError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Not "from error": its message may have the password, and a failed run's traceback is kept.
        raise DownloadError(explain_without_password(error, url)) from None
    return response


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for the allowed schemes only, so that no redirection leaves them."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.FileHandler,
    ):
        opener.add_handler(handler())
    return opener
