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
from typing import Any

from plastibench.experiments.spec import Spec, canonical
from plastibench.store.index import run_summary
from plastibench.store.record import Record
from plastibench.store.run_metrics import RunMetrics

RUN, HEAD = "run.", "head."
LONGEST = 4_900
"""Characters of a tag's value: older servers take 5,000."""


def said(record: Record, there: Collection[str]) -> dict[str, str]:
    """Return the tags that say what a run came to; a head that is `there` already is left out."""
    text = run_summary.head(record)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    counts = record.status == "done" and not record.spec.sealed
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
    heads: dict[str, tuple[Spec, Mapping[str, Any]]] = {}
    for name in tags:
        if name.startswith(RUN) and "/" not in name:
            key, seed, status, packed = json.loads(_whole(tags, name))
            if key not in heads:
                heads[key] = _head(tags, key)
            yield name.removeprefix(RUN), _record(heads[key], seed, status, packed)


def _record(head: tuple[Spec, Mapping[str, Any]], seed: int, status: str, packed: str) -> Record:
    own, provenance = head
    parts = (own.task, own.model, own.recipe, own.method)
    record = Record(Spec(*parts, seed, own.device, own.protocol, own.sealed), status, [], dict(provenance))
    if packed:
        plain = json.loads(_unpacked(packed))
        accuracies, steps, passes = (tuple(plain[name]) for name in ("accuracies", "steps", "passes"))
        # In place of what a record would sum up from its stages when it is first asked for.
        vars(record)["metrics"] = RunMetrics(seed, accuracies, steps, passes, plain["cost"], record.hardware)
    return record


def _head(tags: Mapping[str, str], key: str) -> tuple[Spec, Mapping[str, Any]]:
    plain = json.loads(_unpacked(_whole(tags, f"{HEAD}{key}")))
    return Spec.from_dict({**plain["spec"], "seed": 0}), plain["provenance"]


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
