"""Which runs the mirror holds, in few large rows: packs, which can be read at once where runs cannot.

MLflow takes a millisecond and more to give one run. A pack is a run of an experiment of its own whose tags
speak of many runs. It is written to by one process, and closed when that ends; later packs count more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from plastibench.store.record import Record
from plastibench.tracking.bulk import encoding
from plastibench.tracking.bulk.reader import EXPERIMENT, KIND
from plastibench.tracking.payload import batches
from plastibench.tracking.server import TrackingServer

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST = 200
"""Runs of a pack: so that one is never much to read again."""
TAGS_A_CALL = 100


class Writer:
    """The pack of this process; begun with the first thing that is said."""

    def __init__(self, client: MlflowClient, server: TrackingServer) -> None:
        self.client = client
        self.server = server
        self.run: str | None = None
        self.heads: set[str] = set()
        self.count = 0

    def say(self, record: Record, tags: Mapping[str, str]) -> None:
        """Say what a run came to, and more of it."""
        from mlflow.entities import RunTag

        if self.run is None:
            made = self.client.create_run(self._experiment(), tags={"kind": KIND}, run_name=KIND)
            self.run = str(made.info.run_id)
        said = encoding.said(record, self.heads) | dict(tags)
        for batch in batches([RunTag(name, value) for name, value in said.items()], TAGS_A_CALL):
            self.client.log_batch(self.run, tags=batch)
        self.heads |= {name for name in said if name.startswith(encoding.HEAD)}
        self.count += 1
        if self.count >= MOST:
            self.close()

    def close(self) -> None:
        """Say that nothing more is said in this pack."""
        if self.run is not None:
            self.client.set_terminated(self.run)
        self.run, self.heads, self.count = None, set(), 0

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return str(self.client.create_experiment(EXPERIMENT, self.server.artifact_location(KIND)))
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
