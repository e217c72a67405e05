"""The finished runs that MLflow has, for tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.store.record import Record
from plastibench.tracking.bulk.encoding import decode
from plastibench.tracking.bulk.reader import read_batches
from plastibench.tracking.server import TrackingServer


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
