"""Write records in batches: MLflow runs of an experiment of their own, whose tags hold many records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from plastibench.store.record import Record
from plastibench.tracking.bulk.encoding import GROUP, encode
from plastibench.tracking.bulk.reader import EXPERIMENT, KIND
from plastibench.tracking.payload import chunks
from plastibench.tracking.server import TrackingServer, ensure_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_RECORDS = 200
"""Records of a batch, so that an unfinished one is quickly read again."""
TAGS_PER_CALL = 100


class BatchWriter:
    """The batch of this process, created with its first record."""

    def __init__(self, client: MlflowClient, server: TrackingServer) -> None:
        self.client = client
        self.server = server
        self._reset()

    def _reset(self) -> None:
        self.run: str | None = None
        self.groups: set[str] = set()
        self.num_records = 0

    def add(self, record: Record, tags: Mapping[str, str]) -> None:
        """Write a record, and more tags."""
        from mlflow.entities import RunTag

        if self.run is None:
            experiment = ensure_experiment(self.client, self.server, EXPERIMENT, KIND)
            run = self.client.create_run(experiment.experiment_id, tags={"kind": KIND}, run_name=KIND)
            self.run = str(run.info.run_id)
        new_tags = encode(record, self.groups) | dict(tags)
        for chunk in chunks([RunTag(key, value) for key, value in new_tags.items()], TAGS_PER_CALL):
            self.client.log_batch(self.run, tags=chunk)
        self.groups |= {key for key in new_tags if key.startswith(GROUP)}
        self.num_records += 1
        if self.num_records >= MAX_RECORDS:
            self.close()

    def close(self) -> None:
        """Finish the batch."""
        if self.run is not None:
            self.client.set_terminated(self.run)
        self._reset()
