"""A cache of what tables need of finished runs, in one file beside them. The runs' own files are the truth.

An entry counts where the run's file is still the one that it was made from (size, times, inode) and where
its own checksum is right; whatever else, the run's file is read. The cache can be deleted at any time, and
where it cannot be written everything goes on without it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from plastibench.experiments.spec import Spec
from plastibench.store.index.database import Cache, Entry
from plastibench.store.index.file_stats import stamps
from plastibench.store.index.reader import batches, reading_progress
from plastibench.store.index.run_summary import RunSummary
from plastibench.store.record import Record, hardware
from plastibench.store.run_store import Store

NAME = "index.db"

SETTLED_SECONDS = 2.0
"""A file younger than this is not entered: it could change once more within one tick of its clock."""


def load_summaries(store: Store, ids: Sequence[str] | None = None) -> list[Record]:
    """Return the finished runs of a store in short: all by id, or those of `ids` in their order.

    They are the runs that `Store.records` and `Store.finished` give, and damaged ones are noted in the same
    place.
    """
    seen = stamps(store.home, ids)
    if not seen:
        return []
    cache = Cache(store.home / NAME)
    entries = cache.entries(seen)
    missing = [(run, stamp) for run, stamp in seen.items() if run not in entries]
    with reading_progress(len(missing)) as advance:
        for batch in batches(store.home, missing):
            store.damaged |= batch.damaged
            cache.enter(_settled(batch.entries))
            entries |= {entry.run: entry for entry in batch.entries}
            advance(batch.looked_at)
    if ids is None:
        cache.keep(seen)
    heads = {text: _Head.of(text) for text in {entry.head for entry in entries.values()}}
    return [heads[entries[run].head].summary(entries[run], store) for run in seen if run in entries]


def _settled(entries: Iterable[Entry]) -> list[Entry]:
    latest = time.time() - SETTLED_SECONDS
    return [entry for entry in entries if entry.stamp.changed < latest * 1e9]


class _Head(NamedTuple):
    """What the seeds of a method under one setting have in common."""

    spec: Spec
    provenance: Mapping[str, Any]
    condition_id: str
    hardware: str

    @classmethod
    def of(cls, text: str) -> _Head:
        plain = json.loads(text)
        spec = Spec.from_dict({**plain["spec"], "seed": 0})
        provenance = plain["provenance"]
        return cls(spec, provenance, spec.condition_id(), hardware(provenance))

    def summary(self, entry: Entry, store: Store) -> RunSummary:
        own = self.spec
        parts = (own.task, own.model, own.recipe, own.method)
        spec = Spec(*parts, entry.seed, own.device, own.protocol, own.sealed)
        found = RunSummary(spec, entry.status, self.provenance, entry.packed, store)
        # The same for all its seeds: worked out once.
        vars(found).update(condition_id=self.condition_id, hardware=self.hardware)
        return found
