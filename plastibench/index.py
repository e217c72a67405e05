"""A cache of what tables need of finished runs, in one file beside them. The runs' own files are the truth.

An entry counts where the run's file is still the one that it was made from (size, times, inode) and where
its own checksum is right; whatever else, the run's file is read. The cache can be deleted at any time, and
where it cannot be written everything goes on without it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from plastibench.cache import Cache, Entry
from plastibench.data.progress import Advance, progress
from plastibench.spec import Spec, canonical
from plastibench.stamps import Stamp, stamps
from plastibench.store import Record, Store
from plastibench.summary import Summary, origin, pack

NAME = "index.db"

SETTLED_SECONDS = 2.0
"""A file younger than this is not entered: it could change once more within one tick of its clock."""
BATCH = 2_000
"""Runs that are entered at once: at most so many are read anew after Ctrl-C."""


def summaries(store: Store, ids: Sequence[str] | None = None) -> list[Record]:
    """Return the finished runs of a store in short: all by id, or those of `ids` in their order.

    They are the runs that `Store.records` and `Store.finished` give, and damaged ones are noted in the same
    place.
    """
    seen = stamps(store.home, ids)
    if not seen:
        return []
    cache = Cache(store.home / NAME)
    entries = cache.entries(seen)
    missing = [run for run in seen if run not in entries]
    with _shown(len(missing)) as advance:
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            read = [entry for run in batch if (entry := _read(store, run, seen[run]))]
            cache.enter(_settled(read))
            entries |= {entry.run: entry for entry in read}
            advance(len(batch))
    if ids is None:
        cache.keep(seen)
    heads = {text: _Head.of(text) for text in {entry.head for entry in entries.values()}}
    return [heads[entries[run].head].summary(entries[run], store) for run in seen if run in entries]


def _shown(count: int) -> AbstractContextManager[Advance]:
    return progress(f"reading {count:,} runs", count) if count > BATCH else nullcontext(lambda _: None)


def _settled(entries: Iterable[Entry]) -> list[Entry]:
    latest = time.time() - SETTLED_SECONDS
    return [entry for entry in entries if entry.stamp.changed < latest * 1e9]


class _Head(NamedTuple):
    """What the seeds of a method under one setting have in common."""

    spec: Spec
    provenance: Mapping[str, Any]
    setting_id: str

    @classmethod
    def of(cls, text: str) -> _Head:
        plain = json.loads(text)
        spec = Spec.from_dict({**plain["spec"], "seed": 0})
        return cls(spec, plain["provenance"], spec.setting_id())

    def summary(self, entry: Entry, store: Store) -> Summary:
        own = self.spec
        parts = (own.task, own.model, own.recipe, own.method)
        spec = Spec(*parts, entry.seed, own.device, own.protocol, own.sealed)
        found = Summary(spec, entry.status, self.provenance, entry.packed, store)
        vars(found)["setting_id"] = self.setting_id  # the same for all its seeds: worked out once
        return found


def _read(store: Store, run: str, stamp: Stamp) -> Entry | None:
    """Return a run from its own file; None where that is damaged, which is noted."""
    record = store.read(run)
    if record is None:
        return None
    spec = record.spec.as_dict()
    seed = spec.pop("seed")
    try:
        packed = pack(record)
    except (KeyError, TypeError, ValueError) as error:
        store.note_damage(run, error)
        return None
    head = canonical({"spec": spec, "provenance": origin(record)})
    return Entry(run, stamp, head, seed, record.status, packed)
