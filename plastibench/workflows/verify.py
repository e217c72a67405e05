"""Run one row again and compare it with its record."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from plastibench.cli.progress import Display
from plastibench.cli.screen import Screen
from plastibench.devices import get_device
from plastibench.errors import RequestError, unknown
from plastibench.experiments.spec import name_of
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.worker import init_worker
from plastibench.store.record import Record
from plastibench.store.record_diff import differences, likely_causes
from plastibench.store.run_store import Store

SAME, DIFFERENT = 0, 1


def find(store: Store, text: str) -> Record:
    """Return the finished run whose id is or begins with `text`. Raises RequestError."""
    ids = store.ids()
    found = [run for run in ids if run.startswith(text)] if text else []
    if not found:
        raise unknown("finished run", text, ids[:20])
    if len(found) > 1:
        raise RequestError(
            f"run {text} is not one run: {len(found)} begin so, such as {' and '.join(found[:2])}"
        )
    record = store.read(found[0])
    if record is None:
        raise RequestError(f"run {found[0]} is damaged: {next(iter(store.damaged.values()))}")
    return record


def verify(ids: Sequence[str], context: RunContext, device: str | None) -> int:
    """Run finished runs again, apart from the store, and say what differs; return the exit status.

    `place.home` holds the records. `device` replaces the first one of the record's kind. Raises
    RequestError for a run that does not exist, or whose code is not what it was.
    """
    records = [find(Store(context.home), text) for text in ids]
    console = Screen(stderr=True)
    worst = SAME
    with Display(console, len(records), 0, 1) as display:
        for record in records:
            again = _again(record, replace(context, device=device or record.spec.device), display)
            found = list(differences(record, again, ("in the record", "now")))
            worst = max(worst, DIFFERENT if found else SAME)
            for line in _verdict(record, again, found):
                console.print(Text(line), soft_wrap=True)
    return worst


def _again(record: Record, context: RunContext, display: Display) -> Record:
    """Carry a run out anew in a folder that is thrown away, with threads and kernels as the first time."""
    kind = get_device(context.device).device_type
    if kind != record.spec.device:
        raise RequestError(f"run {record.id} is one on {record.spec.device}: it cannot be verified on {kind}")
    with tempfile.TemporaryDirectory() as home:
        origin = record.provenance
        there = replace(context, home=Path(home), threads=origin.get("threads"))
        # Older records do not say it: those of before were made without.
        there = replace(there, deterministic=origin.get("deterministic", False))
        init_worker(there)
        again = execute(record.spec, there, [display])
    display.on_run_end(again)
    return again


def _verdict(record: Record, again: Record, found: list[str]) -> Iterator[str]:
    name = f"{record.id} {name_of(record.spec)}"
    if not found:
        yield f"{name}: the same, number for number, in {len(record.stages)} stages"
        return
    yield f"{name}: {len(found)} numbers differ; the first: {found[0]}"
    other = likely_causes(record, again)
    if other:
        yield f"  made with another machine or version, equal bits are not promised: {other}"
