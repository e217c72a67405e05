"""What every record of a finished run satisfies: a file of somebody else is held to it before it is used.

The types of a record's values are checked wherever one is read. These rules tell what no run can have
measured: they find accidents and careless forgeries, and keep whatever computes with records simple.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from plastibench.errors import RequestError, count
from plastibench.experiments.spec import Part, Spec
from plastibench.store import tuned_settings, verifications
from plastibench.store.record import Record, StageRow
from plastibench.store.tuned_settings import TunedSettings
from plastibench.training.cost import COST_COLUMNS

NEEDED = ("test_accuracy", "steps", "train_passes", "remedy_passes")
"""Columns of a stage that tables are made from: a number in every run."""
COUNTS = ("epochs", "num_train", "num_new", "test_correct", "num_test", *COST_COLUMNS)
"""Columns of a stage that are never negative, if they were measured."""
SHARES = ("train_accuracy", "test_accuracy", "validation_accuracy")
LARGEST = 1e30
"""No count or cost of a run is larger, and none that is smaller overflows where costs are added up."""
DIVERGED = "diverged"
"""The status of a run, and what ended its last stage, if the loss was no number any more."""
MAX_THREADS = 4096
NOTED = (tuned_settings.KEY, verifications.KEY)
"""Fields of the provenance that are noted beside a record, never in it."""
LONGEST = 60
"""Characters of a wrong value that a message shows."""


def check_record(record: Record) -> None:
    """Raise ValueError with the first value that no run can have."""
    spec, provenance = record.spec, record.provenance
    check_spec(spec)
    check_texts([record.stages, provenance])
    if spec.held_out_test:
        raise ValueError(f"run {record.id} is one of a tuning, which never sees the test data")
    for row in record.stages:
        _check_row(row, spec.recipe.get("test_accuracy"))
        if None not in (record.data, row.get("data")) and row["data"] != record.data:
            raise ValueError(
                f"{_stage(row)}: its data are {row['data']}, those of the run {record.data}"[:160]
            )
    stop = record.stages[-1].get("stop")
    if stop is not None and (stop == DIVERGED) != (record.status == DIVERGED):
        raise ValueError(f"its status is {record.status!r}, but its last stage ended by {stop!r}")
    _check_provenance(provenance)


def check_lengths(records: Iterable[Record]) -> None:
    """Raise RequestError for a finished run with another number of stages than others of its setting."""
    first: dict[tuple[str, str | None], Record] = {}
    for record in records:
        if record.status != DIVERGED:
            other = first.setdefault((record.condition_id, record.data), record)
            if len(record.stages) != len(other.stages):
                raise RequestError(
                    f"run {record.id} ({record.spec.name}) has {count(len(record.stages), 'stage')}, and run "
                    f"{other.id} ({other.spec.name}) of its setting has {len(other.stages)}"
                )


def check_spec(spec: Spec) -> None:
    """Raise ValueError with the first field of a description that has the wrong type."""
    plain = spec.as_dict()
    for part in (part for _, part in spec.all_parts()):
        _check_part(part)
    for field, of in (("seed", int), ("protocol", int), ("device", str), ("recipe", dict)):
        if type(plain[field]) is not of:
            raise ValueError(f"{field} is {_shown(plain[field])}")
    if not 0 <= spec.seed < 2**63:
        raise ValueError(f"seed is {spec.seed}: it must be 0 or more")
    if not all(type(flag) is bool for flag in (spec.held_out_test, spec.shifts_targets)):
        raise ValueError("sealed and shifts_targets must be true or false")
    check_texts(plain)


def check_tuned(origin: TunedSettings) -> None:
    """Raise ValueError for text that no tuning writes."""
    check_texts([origin.study, origin.data, origin.instead_of])


def check_texts(plain: object) -> None:
    """Raise ValueError for text with characters that steer a terminal, break lines or hide others."""
    for text in _texts(plain):
        if not text.isprintable():
            raise ValueError(f"{text[:LONGEST]!a} has characters that cannot be printed")


def _texts(plain: object) -> Iterator[str]:
    """Yield all names and texts in plain values."""
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, Mapping):
        for name, value in plain.items():
            yield from _texts(name)
            yield from _texts(value)
    elif isinstance(plain, list | tuple):
        for value in plain:
            yield from _texts(value)


def _check_part(part: Part) -> None:
    for field, of in (("name", str), ("code", str), ("settings", dict)):
        value = getattr(part, field)
        if type(value) is not of or value == "":
            raise ValueError(f"the {field} of a plug-in is {_shown(value)}")


def _check_row(row: StageRow, average: object) -> None:
    for name in NEEDED:
        if row.get(name) is None:
            raise ValueError(f"{_stage(row)}: {name} is missing")
    for name in COUNTS:
        value = row.get(name)
        if value is not None and not _is_number(value):
            raise ValueError(f"{_stage(row)}: {name} is {_shown(value)}: it must be 0 or more, and finite")
    for name in SHARES:
        value = row.get(name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{_stage(row)}: {name} is {_shown(value)}: it must be in 0..1")
    tested = row.get("num_test") or 0
    if average == "examples" and tested and row.get("test_correct") is not None:
        share = row["test_correct"] / tested
        if row["test_accuracy"] != share:
            found, of = row["test_accuracy"], f"{row['test_correct']} of {tested}"
            raise ValueError(f"{_stage(row)}: test_accuracy is {found!r}, but {of} is {share!r}")


def _check_provenance(provenance: Mapping[str, Any]) -> None:
    for name in NOTED:
        if name in provenance:
            raise ValueError(f"{name} is noted beside a record, and cannot be in its provenance")
    for name, most in (("threads", MAX_THREADS), ("devices", MAX_THREADS), ("attempts", LARGEST)):
        value = provenance.get(name, 1)
        if not 1 <= value <= most:
            raise ValueError(f"{name} is {_shown(value)}: it must be 1 or more")
    for name in ("seconds", "checkpoint_seconds", "store_seconds"):
        if not _is_number(provenance.get(name, 0)):
            raise ValueError(f"{name} is {_shown(provenance[name])}: it must be 0 or more")
    started, finished = (moment(provenance.get(name)) for name in ("started", "finished"))
    if started is not None and finished is not None and finished < started:
        raise ValueError(f"finished is {provenance['finished']}, before started, {provenance['started']}")


def moment(text: str | None) -> datetime | None:
    """Return a time of the provenance, which is one in UTC if it names no zone."""
    found = None if text is None else datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= LARGEST  # type: ignore[operator]


def _stage(row: StageRow) -> str:
    return f"stage {row['index'] + 1}"


def _shown(value: object) -> str:
    return ascii(value)[:LONGEST]
