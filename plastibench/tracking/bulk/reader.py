"""Read batches of records straight from a database, or from a server, whose finished batches are cached."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError
from plastibench.store.record import Record
from plastibench.system.files import write_atomic
from plastibench.tracking.bulk.encoding import decode
from plastibench.tracking.server import TrackingServer

EXPERIMENT = "plastibench-records"
"""Each of its MLflow runs is a batch: written by one process, never changed once it is finished."""
KIND = "records"
BATCHES_PER_PAGE = 20
PAGE_TIMEOUT_SECONDS = 60.0

QUERY = """
SELECT runs.run_uuid, tags.key, tags.value
FROM experiments JOIN runs ON runs.experiment_id = experiments.experiment_id
                 JOIN tags ON tags.run_uuid = runs.run_uuid
WHERE experiments.name = :name AND experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
ORDER BY runs.start_time, runs.run_uuid
"""

Tags = dict[str, str]


def tracked_records(server: TrackingServer, cache: Path, ids: Sequence[str] | None = None) -> list[Record]:
    """Return finished runs, without their stages: all by id, or those of `ids` in their order.

    Raises RequestError if MLflow cannot be read or has no runs of plastibench.
    """
    try:
        records = decode(read_batches(server, cache))
    except Exception as error:  # whatever a driver, the network or a strange response raises
        message = f"runs in MLflow at {server.display_uri} cannot be read ({server.explain(error)})"
        raise RequestError(message) from error
    if not records:
        raise RequestError(f"no runs of plastibench in {server.display_uri}")
    ordered = [records[key] for key in sorted(records)]
    if ids is None:
        return ordered
    places = {run: place for place, run in enumerate(ids)}
    return sorted((run for run in ordered if run.id in places), key=lambda run: places[run.id])


def read_batches(server: TrackingServer, cache: Path | None = None) -> list[Tags]:
    """Return the tags of all batches, oldest first; those of a server are cached in a folder.

    Raises what the database or the server raises.
    """
    return _read_database(server) if server.is_database else _read_server(server, cache)


def _read_database(server: TrackingServer) -> list[Tags]:
    batches: dict[str, Tags] = {}
    for run, key, value in server.query(QUERY, name=EXPERIMENT):
        batches.setdefault(run, {})[key] = value
    return list(batches.values())


def _read_server(server: TrackingServer, cache: Path | None) -> list[Tags]:
    search = {"filter": f"name = '{EXPERIMENT}'", "max_results": 1, "view_type": "ACTIVE_ONLY"}
    response = server.post("experiments/search", search, server.timeout_seconds)
    runs: list[Any] = []
    for experiment in response.get("experiments", []):
        identity = [server.uri, experiment["experiment_id"], experiment.get("creation_time")]
        name = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        path = None if cache is None else cache / "tracking" / f"{name}.json"
        runs += _read_experiment(server, experiment["experiment_id"], path)
    runs.sort(key=lambda run: (int(run["info"]["start_time"]), run["info"]["run_id"]))
    return [{tag["key"]: tag.get("value", "") for tag in run["data"].get("tags", [])} for run in runs]


def _read_experiment(server: TrackingServer, experiment: str, cache: Path | None) -> list[Any]:
    """Return the runs of an experiment as the server returns them; finished ones are cached."""
    cached = _load(cache)
    ids = ", ".join(f"'{run}'" for run in cached)
    if cached:
        for run in _search(server, experiment, f"attributes.run_id IN ({ids})", "DELETED_ONLY"):
            del cached[run["info"]["run_id"]]
    others = f"attributes.run_id NOT IN ({ids})" if ids else ""
    current = {run["info"]["run_id"]: run for run in _search(server, experiment, others, "ACTIVE_ONLY")}
    finished = {name: run for name, run in current.items() if run["info"]["status"] == "FINISHED"}
    if finished and cache is not None:
        with suppress(OSError):  # without the cache reading takes longer
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(cache, json.dumps(cached | finished))
    return [*(cached | current).values()]


def _load(cache: Path | None) -> dict[str, Any]:
    """Return cached runs by id; none if the file is missing or damaged."""
    with suppress(OSError, ValueError):
        if cache is not None:
            return dict(json.loads(cache.read_text(encoding="utf-8")))
    return {}


def _search(server: TrackingServer, experiment: str, query: str, view: str) -> Iterator[Any]:
    body = {"experiment_ids": [experiment], "filter": query, "run_view_type": view}
    page: dict[str, Any] = {"next_page_token": ""}
    while "next_page_token" in page:
        limits = {"max_results": BATCHES_PER_PAGE, "page_token": page["next_page_token"]}
        page = server.post("runs/search", body | limits, PAGE_TIMEOUT_SECONDS)
        yield from page.get("runs", [])
