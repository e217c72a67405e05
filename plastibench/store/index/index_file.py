"""The file of the index: JSON behind a checksum, replaced atomically and never trusted."""

import json
import math
import sys
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from plastibench.store.index.run_group import PROVENANCE
from plastibench.store.record import Record
from plastibench.store.run_metrics import COSTS, RunMetrics
from plastibench.system.files import write_atomic

INDEX_FILE = "index.json"
FORMAT = [3, sys.byteorder, *COSTS, *PROVENANCE]
"""What the numbers in the file mean; a file of another format is ignored."""


class FileStats(NamedTuple):
    """What changes if a file is changed."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """Unlike the modification time, it cannot be set back."""
    inode: int

    @property
    def changed_ns(self) -> int:
        """Return when the file changed last."""
        return max(self.mtime_ns, self.ctime_ns)


class IndexEntry(NamedTuple):
    """What the index says of a run."""

    stats: FileStats
    """Of the run's file when it was read."""
    group: str
    """The description of the run's `RunGroup`."""
    seed: int
    status: str
    metrics: str
    """See `pack_metrics`."""


def read_index(path: Path) -> dict[str, IndexEntry]:
    """Return the entries by run; none if the file is missing, damaged or of another format."""
    try:
        checksum, _, content = path.read_bytes().partition(b"\n")
        if int(checksum, 16) != zlib.crc32(content):
            return {}
        document = json.loads(content)
        if document["format"] != FORMAT:
            return {}
        groups = document["groups"]
        return {
            run: IndexEntry(FileStats(*stats), groups[group], seed, status, metrics)
            for run, stats, group, seed, status, metrics in document["entries"]
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}


def write_index(path: Path, entries: Mapping[str, IndexEntry]) -> None:
    """Replace the file; if it cannot be written, the old one stays."""
    numbers = {group: number for number, group in enumerate({entry.group for entry in entries.values()})}
    rows = [(run, entry.stats, numbers[entry.group], *entry[2:]) for run, entry in sorted(entries.items())]
    content = json.dumps({"format": FORMAT, "groups": list(numbers), "entries": rows}).encode()
    with suppress(OSError):
        write_atomic(path, b"%08x\n%s" % (zlib.crc32(content), content))


def pack_metrics(record: Record) -> str:
    """Return the digest of the weights, and base64 of 8 bytes for each number of the metrics.

    Empty for a run that no average includes.
    """
    if record.spec.held_out_test or record.status != "done":
        return ""
    metrics = record.metrics
    costs = (math.nan if (value := metrics.cost[name]) is None else value for name in COSTS)
    stages = (*metrics.accuracies, *metrics.steps, *metrics.passes)
    return f"{metrics.weights} {b64encode(array('d', [metrics.same_test, *stages, *costs])).decode()}"


def unpack_metrics(packed: str, seed: int, hardware: str) -> RunMetrics | None:
    """Return the metrics that `pack_metrics` packed."""
    if not packed:
        return None
    weights, _, numbers = packed.partition(" ")
    same_test, *values = array("d", b64decode(numbers)).tolist()
    num_stages = (len(values) - len(COSTS)) // 3
    costs = [None if math.isnan(value) else value for value in values[3 * num_stages :]]
    return RunMetrics(
        seed=seed,
        accuracies=tuple(values[:num_stages]),
        steps=tuple(map(int, values[num_stages : 2 * num_stages])),
        passes=tuple(map(int, values[2 * num_stages : 3 * num_stages])),
        cost=dict(zip(COSTS, costs, strict=True)),
        hardware=hardware,
        same_test=bool(same_test),
        weights=weights,
    )
