"""Records as tags of a batch: what tables need of a run, in few characters.

The seeds of a method under one setting share a group, which a batch has once, under its digest.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict

from plastibench.experiments.spec import canonical
from plastibench.store.index.run_group import RunGroup
from plastibench.store.record import Record
from plastibench.store.run_metrics import RunMetrics

RUN, GROUP = "run.", "head."
MAX_VALUE_LENGTH = 4_900
"""Characters of a tag: older servers take 5,000."""


def encode(record: Record, keys: Collection[str]) -> dict[str, str]:
    """Return the tags of a record; its group is left out if its tag is among `keys`."""
    group = RunGroup.to_json(record)
    digest = hashlib.sha256(group.encode()).hexdigest()[:16]
    has_metrics = record.status == "done" and not record.spec.held_out_test
    entry = [digest, record.spec.seed, record.status, _encode_metrics(record) if has_metrics else ""]
    tags = {} if f"{GROUP}{digest}" in keys else _split(f"{GROUP}{digest}", _compress(group))
    return tags | _split(f"{RUN}{record.id}", canonical(entry))


def decode(batches: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], Record]:
    """Return the records of batches by run id and data, without their stages; of equal ones the last counts.

    Raises ValueError, KeyError or TypeError for tags that `encode` did not write.
    """
    records: dict[tuple[str, str], Record] = {}
    groups: dict[str, RunGroup] = {}
    for tags in batches:
        for key in tags:
            if key.startswith(RUN) and "/" not in key:
                digest, seed, status, metrics = json.loads(_join(tags, key))
                if digest not in groups:
                    groups[digest] = RunGroup.from_json(_decompress(_join(tags, f"{GROUP}{digest}")))
                run_metrics = _decode_metrics(metrics, seed, groups[digest].hardware) if metrics else None
                record = groups[digest].record(seed, status, run_metrics)
                records[key.removeprefix(RUN), record.data or ""] = record
    return records


def _encode_metrics(record: Record) -> str:
    """Return the metrics by name: unlike a cache, a server is not filled anew."""
    metrics = asdict(record.metrics)
    del metrics["seed"], metrics["hardware"]
    return _compress(canonical(metrics))


def _decode_metrics(text: str, seed: int, hardware: str) -> RunMetrics:
    fields = json.loads(_decompress(text))
    accuracies, steps, passes = (tuple(fields[name]) for name in ("accuracies", "steps", "passes"))
    return RunMetrics(
        seed,
        accuracies,
        steps,
        passes,
        fields["cost"],
        hardware,
        same_test=fields.get("same_test", True),  # which runs mirrored by earlier versions do not have
        weights=fields.get("weights", ""),
    )


def _split(key: str, text: str) -> dict[str, str]:
    """Return a long text as several tags: `key`, then `key/1` and so on."""
    starts = range(0, len(text), MAX_VALUE_LENGTH)
    return {f"{key}/{k}" if k else key: text[i : i + MAX_VALUE_LENGTH] for k, i in enumerate(starts)}


def _join(tags: Mapping[str, str], key: str) -> str:
    text, k = tags[key], 1
    while f"{key}/{k}" in tags:
        text, k = text + tags[f"{key}/{k}"], k + 1
    return text


def _compress(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _decompress(text: str) -> str:
    return zlib.decompress(base64.b64decode(text, validate=True)).decode()
