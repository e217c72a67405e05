"""What goes wrong through a user's request, and the sentence that says so."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


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


LONGEST = 600
HINT = "lower batch_size, the model's width, or --jobs"
ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMGT]iB)")
NO_MEMORY_WORDS = ("not enough memory", "can't allocate memory", "out of memory")


def explain(error: BaseException) -> str:
    """Return one line for whatever was raised."""
    if isinstance(error, RequestError):
        return one_line(str(error))
    if out_of_memory(error):
        return f"out of memory{_asked(error)}: {HINT} ({_named(error)})"
    if isinstance(error, OSError) and error.strerror:
        return one_line(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    place = "" if isinstance(error, SyntaxError) else _place(error)
    return f"{_named(error)} ({place})" if place else _named(error)


def one_line(text: str) -> str:
    """Return text without line breaks, control characters and words of no end."""
    words = (word if len(word) <= LONGEST // 4 else f"{word[:60]}...{word[-10:]}" for word in text.split())
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(words))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _named(error: BaseException) -> str:
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return one_line(f"{type(error).__name__}: {first}").rstrip(": ")


def out_of_memory(error: BaseException) -> bool:
    """Return whether it says that memory, the host's or a device's, ran out."""
    # By name, since the class of an accelerator's error is torch's, and this file is read without torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY_WORDS)


def _asked(error: BaseException) -> str:
    """Return how much memory was asked for, where torch's allocator says it: one in bytes, one in GiB."""
    found = ASKED.search(str(error))
    if found is None:
        return ""
    amount, unit = float(found[1]), found[2]
    text = f"{amount / 2**30:,.2f} GiB" if unit == "bytes" else f"{amount:,.2f} {unit}"
    return f", {text} asked for"


def _place(error: BaseException) -> str:
    """Return the file and line of our own or of a plug-in's code where it came from; torch's says nothing."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).startswith("plastibench"):
            found = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return found
