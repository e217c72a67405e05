"""A finished run in the tags of a pack: what tables need of it, in few characters.

What the seeds of a method under one setting have in common is said once a pack, under a digest of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict

from plastibench.experiments.spec import canonical
from plastibench.store.index.run_group import RunGroup
from plastibench.store.record import Record
from plastibench.store.run_metrics import RunMetrics

RUN, HEAD = "run.", "head."
LONGEST = 4_900
"""Characters of a tag's value: older servers take 5,000."""


def said(record: Record, there: Collection[str]) -> dict[str, str]:
    """Return the tags that say what a run came to; a head that is `there` already is left out."""
    text = RunGroup.to_json(record)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    counts = record.status == "done" and not record.spec.held_out_test
    entry = [key, record.spec.seed, record.status, _packed(_numbers(record.metrics)) if counts else ""]
    head = {} if f"{HEAD}{key}" in there else _cut(f"{HEAD}{key}", _packed(text))
    return head | _cut(f"{RUN}{record.id}", canonical(entry))


def _numbers(outcome: RunMetrics) -> str:
    """Return an outcome with its numbers by name: unlike an index, what a server holds is not made anew."""
    return canonical(
        {name: value for name, value in asdict(outcome).items() if name not in ("seed", "hardware")}
    )


def records(tags: Mapping[str, str]) -> Iterator[tuple[str, Record]]:
    """Yield the runs that a pack speaks of, by their ids: with their outcomes, and without their stages.

    Raises ValueError, KeyError or TypeError for tags that nothing of ours wrote.
    """
    groups: dict[str, RunGroup] = {}
    for name in tags:
        if name.startswith(RUN) and "/" not in name:
            key, seed, status, packed = json.loads(_whole(tags, name))
            if key not in groups:
                groups[key] = RunGroup.from_json(_unpacked(_whole(tags, f"{HEAD}{key}")))
            metrics = _metrics(packed, seed, groups[key].hardware) if packed else None
            yield name.removeprefix(RUN), groups[key].record(seed, status, metrics)


def _metrics(packed: str, seed: int, hardware: str) -> RunMetrics:
    plain = json.loads(_unpacked(packed))
    accuracies, steps, passes = (tuple(plain[name]) for name in ("accuracies", "steps", "passes"))
    return RunMetrics(seed, accuracies, steps, passes, plain["cost"], hardware)


def _cut(name: str, text: str) -> dict[str, str]:
    """Return a long text in parts: `name`, then `name/1` and so on."""
    parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
    return {f"{name}/{k}" if k else name: part for k, part in enumerate(parts)}


def _whole(tags: Mapping[str, str], name: str) -> str:
    text, k = tags[name], 1
    while f"{name}/{k}" in tags:
        text, k = text + tags[f"{name}/{k}"], k + 1
    return text


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _unpacked(text: str) -> str:
    return zlib.decompress(base64.b64decode(text, validate=True)).decode()
