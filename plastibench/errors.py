"""What goes wrong through a user's request, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RequestError(ValueError):
    """A request that cannot be met: the message says what is wrong, the value, what is allowed."""


class DataError(RequestError):
    """A data set that is missing, incomplete or not what its checksum says."""


def unknown(kind: str, value: str, allowed: Iterable[str]) -> RequestError:
    """Return the error for a name that does not exist, with the nearest one that does."""
    names = sorted(allowed)
    near = get_close_matches(value, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names) if names else "none"
    return RequestError(f"no {kind} named {value!r}{hint} (there are: {listed})")
