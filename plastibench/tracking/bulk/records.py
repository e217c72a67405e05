"""The finished runs that a tracking server has, as a store has those of a home folder: for tables.

Packs that are closed never change; they are kept in a file of the cache folder, so that the next time only
what is new is asked for. The file can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.store.record import Record
from plastibench.system.files import write_atomic
from plastibench.tracking.bulk import encoding
from plastibench.tracking.bulk.reader import BulkRun, asked
from plastibench.tracking.server import TrackingServer


class TrackedRuns:
    """What a tracking server says of finished runs. Their stages are not there."""

    def __init__(self, server: TrackingServer, cache: Path) -> None:
        self.server = server
        self.folder = cache / "tracking"
        self.file = self.folder / f"{hashlib.sha256(server.uri.encode()).hexdigest()[:16]}.json"

    def records(self, ids: Sequence[str] | None = None) -> list[Record]:
        """Return the finished runs in short: all by id, or those of `ids` in their order.

        Raises RequestError where the server cannot be asked, or says what nothing of ours wrote.
        """
        found: dict[str, Record] = {}
        try:
            for pack in self.packs:
                found |= encoding.records(pack.tags)
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(error) from error
        order = sorted(found) if ids is None else ids
        return [found[run] for run in order if run in found]

    def digest(self) -> str:
        """Return a digest of all that the server says."""
        said = json.dumps([[pack.id, pack.tags] for pack in self.packs], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    @cached_property
    def packs(self) -> list[BulkRun]:
        """Return all packs, in the order in which they were begun. Raises RequestError."""
        try:
            return self._read()
        except RequestError:
            raise
        except Exception as error:  # whatever a driver, the network or a strange answer raises
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> RequestError:
        return RequestError(
            f"runs in MLflow at {self.server.display_uri} cannot be read ({self.server.explain(error)})"
        )

    def _read(self) -> list[BulkRun]:
        kept = self._kept()
        with asked(self.server) as place:
            experiment = place.experiment()
            if experiment is None:
                raise RequestError(f"no runs of plastibench's in {self.server.display_uri}")
            known = kept.get(experiment, {})
            for run in place.deleted(known):
                del known[run]
            fresh = {pack.id: pack for pack in place.packs(known)}
        closed = {run: pack for run, pack in fresh.items() if pack.closed}
        if closed:
            self._keep(experiment, known | closed)
        return sorted((known | fresh).values(), key=lambda pack: (pack.start, pack.id))

    def _kept(self) -> dict[str, dict[str, BulkRun]]:
        """Return closed packs by experiment and id; nothing where the file is missing or damaged."""
        try:
            plain = json.loads(self.file.read_text(encoding="utf-8"))
            return {plain["experiment"]: {pack["id"]: BulkRun(**pack) for pack in plain["packs"]}}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _keep(self, experiment: str, closed: Mapping[str, BulkRun]) -> None:
        plain = {"experiment": experiment, "packs": [vars(pack) for pack in closed.values()]}
        with suppress(OSError):  # without the file everything takes longer, no more
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.file, json.dumps(plain))
