"""Records files that are taken apart and put together again, as a forger would."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from plastibench.experiments.spec import canonical
from plastibench.store.record import Record, content_digest
from plastibench.store.records_file import Board, RecordsFile, write_records

BOARD = Board("a-board", "warm", "cold")


def a_file(path: Path, records: Iterable[Record], **more: Any) -> Path:
    """Write a records file."""
    write_records(path, RecordsFile(BOARD, tuple(records), **more))
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file."""
    return [json.loads(line) for line in lzma.decompress(path.read_bytes()).decode().splitlines()]


def put_together(path: Path, lines: Sequence[dict[str, Any]], *, digest: bool = True) -> Path:
    """Write lines as a file, with a right digest unless that is not wanted."""
    head, *rest = lines
    text = "".join(canonical(line) + "\n" for line in rest)
    if digest:
        head = {**head, "digest": hashlib.sha256(text.encode()).hexdigest()}
    path.write_bytes(lzma.compress(f"{canonical(head)}\n{text}".encode()))
    return path


def forge(
    path: Path, change: Callable[[dict[str, Any]], object], *, place: int = -1, digest: bool = True
) -> Path:
    """Change a run of a file, the last one; with `digest` the run's and the file's digests are made anew."""
    lines = lines_of(path)
    change(lines[place])
    if digest:
        del lines[place]["digest"]
        lines[place]["digest"] = content_digest(lines[place])
    return put_together(path, lines, digest=digest)


def set_accuracy(stage: dict[str, Any], share: float) -> None:
    """Change the test accuracy of a stage, with the number of correct answers, as a careful forger does."""
    correct = round(share * stage["num_test"])
    stage.update(test_correct=correct, test_accuracy=correct / stage["num_test"])
