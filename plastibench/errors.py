"""Errors of a request, and one-line messages for any error."""

import importlib.util
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class RequestError(ValueError):
    """A request that cannot be met: the message names what is wrong, the value, and what is allowed."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the message, as on the command line; no line of ours explains more."""
        return [f"{type(self).__name__}: {self}"]


class DataError(RequestError):
    """A data set that is missing, incomplete, or differs from its checksum."""


def unknown(kind: str, value: str, allowed: Iterable[str], further: Iterable[str] = ()) -> RequestError:
    """Return the error for a name that does not exist, with the closest name that does.

    Names in `further`, of another kind, may be meant, too; they are not listed.
    """
    names = sorted(allowed)
    hint = did_you_mean(value, [*names, *further])
    return RequestError(f"no {kind} named {value!r}{hint} (there are: {', '.join(names) or 'none'})")


def did_you_mean(value: str, names: Iterable[str]) -> str:
    """Return a question with the name that is closest to a value, or nothing if none is close.

    A name such as `dash.floor` is as close as its last part, and `lr` are the initials of `learning_rate`.
    """
    spellings: dict[str, str] = {}
    initials: dict[str, str] = {}
    for name in names:
        last = name.rpartition(".")[2]
        for spelling in (name, last):
            spellings.setdefault(spelling.casefold(), name)
        initials.setdefault("".join(word[:1] for word in last.split("_")), name)
    if len(value) > 1 and value.casefold() in initials:
        return f"; did you mean {initials[value.casefold()]!r}?"
    matches = get_close_matches(value.casefold(), spellings, n=1, cutoff=0.5)
    return f"; did you mean {spellings[matches[0]]!r}?" if matches else ""


EXTRAS = {
    "mlflow": "mlflow",
    "optuna": "tune",
    "optuna_dashboard": "dashboard",
    "psycopg": "postgres",
    "pyarrow": "parquet",
    "ray": "ray",
}
"""The extra of plastibench that installs each optional package."""


def is_installed(package: str) -> bool:
    """Return whether an optional package can be imported."""
    return importlib.util.find_spec(package) is not None


def require(package: str, what: str) -> None:
    """Raise RequestError with what to install if a package that something needs is missing."""
    if not is_installed(package):
        raise RequestError(f"{what} needs {not_installed(package)}")


def not_installed(package: str) -> str:
    """Return that an optional package is missing, and what installs it."""
    return f"{package}, which is not installed: pip install 'plastibench[{EXTRAS[package]}]'"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 run" or "1,200 runs"; `plural` is needed if it adds no s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def count_range(numbers: Collection[int], noun: str) -> str:
    """Return the smallest and the largest of some numbers with their noun, such as "3 to 5 runs"."""
    low, high = min(numbers), max(numbers)
    return count(high, noun) if low == high else f"{low:,} to {count(high, noun)}"


def joined(texts: Sequence[str]) -> str:
    """Return texts as a list in a sentence: "a, b and c"; "" if there is none."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def shortened(texts: Sequence[str], most: int) -> str:
    """Return the first texts, separated by commas, and how many more there are: "a, b and 7 more"."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Raise RequestError that something cannot be written for what the file system refuses inside."""
    try:
        yield
    except OSError as error:
        raise RequestError(f"{what} cannot be written: {error.strerror or error}") from error


MAX_LENGTH = 600
"""Longest message, in characters."""
MEMORY_HINT = "lower batch_size, the model's width, or --jobs"
_INSTALLED = (
    "torch torchvision numpy pandas scipy PIL click optuna mlflow sqlalchemy alembic requests urllib3"
)
_LIBRARIES = {"", *_INSTALLED.split(), *sys.stdlib_module_names}
"""Packages whose lines do not help to find a mistake; a plug-in may be in any other."""
_ALLOCATION = re.compile(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMGT]iB)")
_LOGIN = re.compile(r"([a-z][a-z0-9+.-]*://)(?!/)(?:[^\s:@/]*:(?!\d)[^\n]*|\S*)@", re.IGNORECASE)
_SECRET_KEY = r"(?:api|access|account|auth|private|shared|ssl)_?key"
_SECRET_QUERY = re.compile(
    rf"([?&;](?:\w*(?:pass|pwd|token|secret|{_SECRET_KEY})\w*|key|sig\w*)=)[^\s'\"&;]*", re.IGNORECASE
)
_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


def explain(error: BaseException) -> str:
    """Return a one-line message for any exception."""
    if isinstance(error, RequestError):
        return one_line(str(error))
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return f"this needs {not_installed(error.name)}"
    if is_out_of_memory(error):
        return f"out of memory{_allocation(error)}: {MEMORY_HINT} ({_summary(error)})"
    if isinstance(error, OSError) and error.strerror:
        return one_line(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    location = "" if isinstance(error, SyntaxError) else _location(error)
    return f"{_summary(error)} ({location})" if location else _summary(error)


def one_line(text: str) -> str:
    """Return the text without logins, line breaks and control characters, with long words shortened."""
    text = hide_logins(" ".join(text.split()))
    words = (word if len(word) <= MAX_LENGTH // 4 else f"{word[:60]}...{word[-10:]}" for word in text.split())
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(words))
    return line if len(line) <= MAX_LENGTH else f"{line[:MAX_LENGTH]}..."


def hide_logins(text: str) -> str:
    """Return a text without the logins of addresses, which somebody may have written in the wrong place."""
    return _SECRET_QUERY.sub(r"\1***", _LOGIN.sub(r"\1***@", text))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the host or a device ran out of memory."""
    # By name: the class of an accelerator's error is torch's, and this module does not import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _summary(error: BaseException) -> str:
    """Return the class and the first line of the message."""
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return one_line(f"{type(error).__name__}: {first}").rstrip(": ")


def _allocation(error: BaseException) -> str:
    """Return how much memory was requested, if torch's allocator names it: some do in bytes, some in GiB."""
    match = _ALLOCATION.search(str(error))
    if match is None:
        return ""
    amount, unit = float(match[1]), match[2]
    size = f"{amount / 2**30:,.2f} GiB" if unit == "bytes" else f"{amount:,.2f} {unit}"
    return f", {size} requested"


def _location(error: BaseException) -> str:
    """Return the innermost file and line of plastibench or a plug-in; lines inside torch do not help."""
    location = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _LIBRARIES:
            location = f"{Path(frame.f_code.co_filename).name}, line {line}"
    return location
