"""Which runs of records files were executed again: saved beside the files, as it is no part of a record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, writing
from plastibench.store.record import Record
from plastibench.system.files import write_atomic
from plastibench.system.locks import file_lock

FILE = "verified.json"
KEY = "verified"
"""The field of a record's provenance that says how its repetition ended."""
VERDICTS = {
    "equal": "re-run to the bit",
    "within spread": "re-run within the spread of the seeds",
    "different": "not reproduced",
}
"""What a repetition can show, in words."""
SELF_REPORTED = "self-reported"
"""What a run is that nobody else has executed again."""


@dataclass(frozen=True)
class Mark:
    """How the repetition of a run ended, and where."""

    verdict: str
    """One of `VERDICTS`."""
    digest: str
    """Of the record that was repeated: a changed record has lost its mark."""
    date: str
    device: str
    threads: int
    torch: str
    plastibench: str

    @classmethod
    def of(cls, verdict: str, record: Record, repetition: Record) -> Mark:
        """Return the mark of a record, given its repetition."""
        where = repetition.provenance
        text = {name: str(where.get(name)) for name in ("device", "torch", "plastibench")}
        date = str(where.get("finished"))[:10]
        return cls(verdict, record.digest, date, threads=int(where.get("threads") or 0), **text)

    @property
    def text(self) -> str:
        """Return when and where it was, such as for a note."""
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return f"{self.date} ({self.device}{threads}; torch {self.torch}; plastibench {self.plastibench})"


Marks = Mapping[str, Mark]
"""By run."""


def load(folder: Path) -> dict[str, Mark]:
    """Return the marks beside the records files of a folder. Raises RequestError for a damaged file."""
    path = folder / FILE
    try:
        return {
            str(run): _parse(plain) for run, plain in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RequestError(
            f"{path} is damaged ({error}): `verify --records FILE --mark` writes it"
        ) from error


def save(folder: Path, marks: Marks) -> None:
    """Add marks to those of a folder."""
    with writing(f"{folder / FILE}"), file_lock(folder / f".{FILE}.lock", remove=True):
        plain = {run: asdict(mark) for run, mark in {**load(folder), **marks}.items()}
        write_atomic(folder / FILE, json.dumps(plain, indent=1, sort_keys=True) + "\n")


def attach(records: Iterable[Record], marks: Marks) -> list[Record]:
    """Return records with their marks in the provenance; those whose content has changed have none."""
    return [_attach(record, marks) for record in records]


def from_record(record: Record) -> Mark | None:
    """Return the mark of a record, or None if it was not repeated."""
    plain = record.provenance.get(KEY)
    return None if not plain else Mark(**plain)


def _attach(record: Record, marks: Marks) -> Record:
    mark = marks.get(record.id)
    if mark is None or mark.digest != record.digest:
        return record
    return record.with_provenance(**{KEY: asdict(mark)})


def _parse(plain: Mapping[str, Any]) -> Mark:
    mark = Mark(**plain)
    for field in fields(Mark):
        if type(getattr(mark, field.name)).__name__ != field.type:
            raise ValueError(f"{field.name} is {getattr(mark, field.name)!r}"[:80])
    if mark.verdict not in VERDICTS:
        raise ValueError(f"verdict is {mark.verdict!r}")
    return mark
