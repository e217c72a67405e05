"""A file of finished runs: compressed lines of JSON behind a digest, with the plug-ins' source.

The first line says what the file is and holds the digest of the others. They are, in this order, a line for
each plug-in that is not shipped, one for each tuning's choice, one for each method that cannot run here, and
one for each run, which holds what the run's own file does. Equal contents give equal lines, so two versions
of a file differ by the lines of the runs that differ: `xz -dc FILE` prints them.
"""

import hashlib
import json
import lzma
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, count, writing
from plastibench.experiments.grid_plan import Refusal
from plastibench.experiments.spec import Spec, canonical
from plastibench.plugins.plugin import Plugin
from plastibench.store import plugin_lines, tuned_settings
from plastibench.store.plugin_lines import PluginKey
from plastibench.store.record import Record
from plastibench.store.record_rules import check_lengths, check_record, check_spec, check_texts, check_tuned
from plastibench.store.tuned_settings import TunedSettings
from plastibench.system.files import write_atomic

FORMAT = "plastibench records"
VERSION = 1
SUFFIX = ".jsonl.xz"
MAX_BYTES = 64 * 2**20
"""Longest content that is read, so that a small file cannot fill the memory."""


def board_name(text: str) -> str:
    """Return a name that can be that of a board's files: other letters become hyphens."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".-") or "runs"


@dataclass(frozen=True)
class Board:
    """What the runs of a file are shown as."""

    name: str
    baseline: str | None
    """Method that tables compare the others with."""
    cost_reference: str | None


@dataclass(frozen=True)
class RecordsFile:
    """The contents of a file."""

    board: Board
    runs: tuple[Record, ...]
    plugins: Mapping[PluginKey, Plugin] = field(default_factory=dict)
    """Those that are not shipped, by kind, name and the digest of their code in the runs' descriptions."""
    tuned: Mapping[str, TunedSettings] = field(default_factory=dict)
    """Where settings come from that tunings chose, by variant."""
    refused: tuple[Refusal, ...] = ()
    """Methods that cannot run where they were asked to: tables say why they have no row."""

    def to_bytes(self) -> bytes:
        """Return the file."""
        lines = "".join(canonical(line) + "\n" for line in self._lines())
        head = {
            "format": FORMAT,
            "version": VERSION,
            "board": asdict(self.board),
            "runs": len(self.runs),
            "digest": _digest(lines),
        }
        return lzma.compress(f"{canonical(head)}\n{lines}".encode())

    def _lines(self) -> Iterator[Mapping[str, Any]]:
        for key in sorted(self.plugins):
            yield {"plugin": plugin_lines.to_plain(key, self.plugins[key])}
        for variant, origin in sorted(self.tuned.items()):
            yield {"tuned": {"variant": variant, **asdict(origin)}}
        for one in sorted(self.refused, key=lambda one: _order(one.spec)):
            yield {"refused": {"spec": one.spec.as_dict(), "reason": one.reason}}
        for record in sorted(self.runs, key=lambda record: _order(record.spec)):
            yield json.loads(record.to_json())


def write_records(path: Path, content: RecordsFile) -> None:
    """Write a file atomically. Raises RequestError if that is not possible."""
    with writing(f"records file {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content.to_bytes())


def read_records(path: Path) -> RecordsFile:
    """Read a file whole. Raises RequestError, with the first line that is wrong, unless all is right."""
    head, *lines = _decompress(path).removesuffix("\n").split("\n")
    with _naming_line(path, 1):
        board, num_runs, digest = _parse_head(head)
    parser = _Parser(path)
    for number, line in enumerate(lines, start=2):
        with _naming_line(path, number):
            parser.add(line)
    if len(parser.runs) != num_runs:
        raise _refused(path, f"it says that it holds {count(num_runs, 'run')}, and holds {len(parser.runs)}")
    if _digest("".join(f"{line}\n" for line in lines)) != digest:
        raise _refused(path, "its digest is wrong: it was changed after it was written")
    _check_needed(path, parser)
    try:
        check_lengths(parser.runs.values())
    except RequestError as error:
        raise _refused(path, f"{error}") from error
    return RecordsFile(
        board, tuple(parser.runs.values()), parser.plugins, parser.tuned, tuple(parser.refused)
    )


class _Parser:
    """The lines of a file after the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: dict[str, Record] = {}
        self.plugins: dict[PluginKey, Plugin] = {}
        self.tuned: dict[str, TunedSettings] = {}
        self.refused: list[Refusal] = []

    def add(self, line: str) -> None:
        """Parse a line. Raises ValueError, KeyError, TypeError or AttributeError if it is damaged."""
        fields = json.loads(line)
        if "plugin" in fields:
            key, plugin = plugin_lines.from_plain(fields["plugin"], self.path)
            if self.plugins.setdefault(key, plugin) is not plugin:
                raise ValueError(f"the source of {key[0]} {key[1]} is in the file twice")
        elif "tuned" in fields:
            variant = str(fields["tuned"]["variant"])
            origin = {name: value for name, value in fields["tuned"].items() if name != "variant"}
            if variant in self.tuned:
                raise ValueError(f"two tunings are said to have chosen variant {variant}"[:80])
            self.tuned |= tuned_settings.parse({variant: origin})
            check_tuned(self.tuned[variant])
        elif "refused" in fields:
            refusal = Refusal(Spec.from_dict(fields["refused"]["spec"]), str(fields["refused"]["reason"]))
            check_spec(refusal.spec)
            check_texts(refusal.reason)
            self.refused.append(refusal)
        else:
            self._add_run(line, str(fields["id"]))
        if canonical(fields) != line:
            raise ValueError("it is not written as `plastibench submit` writes it")

    def _add_run(self, line: str, run: str) -> None:
        record = Record.from_json(line, run)
        with _naming_run(record):
            check_record(record)
            if canonical(json.loads(record.to_json())) != line:
                raise ValueError("it has fields that no run has")
        if self.runs.setdefault(record.id, record) is not record:
            raise ValueError(f"run {record.id} is in the file twice")


@contextmanager
def _naming_run(record: Record) -> Iterator[None]:
    """Raise ValueError with the run for whatever is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"run {record.id} ({record.spec.name}): {error}") from error


@contextmanager
def _naming_line(path: Path, number: int) -> Iterator[None]:
    """Raise RequestError with the number of the line for whatever is wrong with it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else f"{error}"
        raise _refused(path, f"line {number}: {reason}") from error


def _parse_head(line: str) -> tuple[Board, int, str]:
    fields = json.loads(line)
    if fields["format"] != FORMAT:
        raise ValueError(f"its format is {fields['format']!r}, not {FORMAT!r}")
    if fields["version"] != VERSION:
        raise ValueError(f"its version is {fields['version']!r}; this version of plastibench reads {VERSION}")
    board = Board(**fields["board"])
    named = (board.baseline, board.cost_reference)
    if board.name != board_name(str(board.name)) or not all(isinstance(name, str | None) for name in named):
        raise ValueError(f"its board is {fields['board']!r}")
    check_texts(named)
    return board, int(fields["runs"]), str(fields["digest"])


def _check_needed(path: Path, parser: _Parser) -> None:
    """Raise RequestError for source, and for a tuning, that belong to no run."""
    runs = parser.runs.values()
    used = {(kind, part.name, part.code) for record in runs for kind, part in record.spec.all_parts()}
    for kind, name, code in parser.plugins:
        if (kind, name, code) not in used:
            raise _refused(path, f"no run was made with its {kind} {name} (code {code})")
    variants = {record.variant_id: record.spec for record in runs} if parser.tuned else {}
    for variant, origin in parser.tuned.items():
        if variant not in variants:
            raise _refused(path, f"no run has the settings that study {origin.study} chose")
        for name in origin.instead_of:
            if name not in variants[variant].recipe:
                raise _refused(path, f"study {origin.study} chose {name}, which is no setting of the recipe")


def _decompress(path: Path) -> str:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_BYTES)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _refused(path, f"it is longer than {MAX_BYTES:,} bytes")
        content = unpacker.decompress(path.read_bytes(), MAX_BYTES)
        if not unpacker.eof:
            big = not unpacker.needs_input
            raise _refused(path, f"it is longer than {MAX_BYTES:,} bytes" if big else "it ends too early")
        if unpacker.unused_data:
            raise _refused(path, "something follows its end")
        return content.decode()
    except OSError as error:
        raise RequestError(f"records file {path} cannot be read: {error.strerror}") from error
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise _refused(path, f"it is not one that `plastibench submit` writes ({error})") from error


def _refused(path: Path, reason: str) -> RequestError:
    return RequestError(f"records file {path} is refused: {reason}")


def _digest(lines: str) -> str:
    return hashlib.sha256(lines.encode()).hexdigest()


def _order(spec: Spec) -> tuple[str, str, str, str, int, str]:
    """Return what runs are sorted by: those of a method under one setting follow each other."""
    return (spec.task.name, spec.model.name, spec.method.name, spec.variant_id, spec.seed, spec.id)
