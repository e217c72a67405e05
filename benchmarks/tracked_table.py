"""Make an MLflow store of many runs that nobody trained, and time `plastibench table --from` on it.

    python -m benchmarks.tracked_table --runs 5000 --home /tmp/tracked [--server]

The rows are what the mirror writes, put into MLflow's own tables in bulk. With --server MLflow's server
stands before the database, and the table comes through it. Each timing is of a process of its own, from its
start to its end: cold, where the cache is made, and warm. The last line says whether the tables of the store
and of MLflow are the same bytes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import synthetic_store
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer, payload
from plastibench.tracking.bulk.encoding import encode
from plastibench.tracking.bulk.reader import EXPERIMENT, KIND
from plastibench.tracking.bulk.writer import MAX_RECORDS
from plastibench.tracking.experiment import MlflowExperiment
from plastibench.tracking.server import ensure_experiment
from plastibench.tracking.writer import MlflowWriter

START = 1_700_000_000_000


def fill(server: TrackingServer, records: list[Record]) -> None:
    """Write the rows of finished runs into MLflow's tables."""
    from mlflow.store.tracking.dbmodels import models
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    writer = MlflowWriter(server)
    with writer.session():
        experiment = writer.experiment("synthetic")
        batches = ensure_experiment(writer.client, server, EXPERIMENT, KIND)
    make_store: Any = SqlAlchemyStore
    store = make_store(server.uri, server.home.as_uri())
    for start in range(0, len(records), MAX_RECORDS):
        chunk = records[start : start + MAX_RECORDS]
        rows = [_child(uuid.uuid4().hex, experiment, record) for record in chunk]
        batch, tags = uuid.uuid4().hex, {"kind": KIND}
        for row, record in zip(rows, chunk, strict=True):
            tags |= encode(record, tags)
            tags[experiment.tag_key(record.id)] = f"{row['run']['run_uuid']} {payload.record_digest(record)}"
        with store.ManagedSessionMaker() as session:
            runs = [row["run"] for row in rows] + [_run(batch, batches.experiment_id, KIND, START + start)]
            session.bulk_insert_mappings(models.SqlRun, runs)
            for table in ("SqlTag", "SqlParam", "SqlMetric", "SqlLatestMetric"):
                session.bulk_insert_mappings(
                    getattr(models, table), [item for row in rows for item in row[table]]
                )
            session.bulk_insert_mappings(models.SqlTag, _key_values(batch, tags))


def _run(run: str, experiment: str, name: str, start: int) -> dict[str, Any]:
    return {
        "run_uuid": run,
        "name": name,
        "experiment_id": int(experiment),
        "status": "FINISHED",
        "start_time": start,
        "end_time": start,
        "lifecycle_stage": "active",
        "source_type": "UNKNOWN",
        "user_id": "unknown",
        "artifact_uri": "",
    }


def _key_values(run: str, values: dict[str, str]) -> list[dict[str, str]]:
    return [{"run_uuid": run, "key": key, "value": value} for key, value in values.items()]


def _child(run: str, experiment: MlflowExperiment, record: Record) -> dict[str, Any]:
    name = f"{record.spec.method.name} seed {record.spec.seed}"
    tags = payload.spec_tags(record.spec) | payload.provenance_tags(record)
    tags |= {"mlflow.parentRunId": experiment.parent, "mlflow.runName": name}
    points = [*payload.stage_points(record.stages, START), *payload.total_points(record.stages, START)]
    metrics = [{"run_uuid": run, "is_nan": False, **point._asdict()} for point in points]
    latest = {metric["key"]: metric for metric in metrics}
    return {
        "run": _run(run, experiment.id, name, START),
        "SqlTag": _key_values(run, tags),
        "SqlParam": _key_values(run, payload.spec_params(record.spec)),
        "SqlMetric": metrics,
        "SqlLatestMetric": list(latest.values()),
    }


@contextmanager
def run_server(server: TrackingServer) -> Iterator[str]:
    """Run MLflow's server on the database; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["server", "--backend-store-uri", server.uri, "--port", str(port), "--workers", "1"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def timed(home: Path, cache: Path, *words: str) -> tuple[float, bytes]:
    """Return the seconds of a process that prints the table as JSON, and what it printed."""
    command = [sys.executable, "-m", "plastibench", "table", "--format", "json", "--home", str(home), *words]
    start = time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "XDG_CACHE_HOME": str(cache)}
    )
    return time.perf_counter() - start, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--server", action="store_true")
    words = parser.parse_args()
    synthetic_store.make(words.home, words.runs)
    server = TrackingServer.from_uri(None, words.home)
    if not (words.home / "mlflow.db").exists():
        start = time.perf_counter()
        fill(server, list(Store(words.home).records()))
        print(f"{words.runs} runs written in {time.perf_counter() - start:.1f} s")
    print(f"database: {(words.home / 'mlflow.db').stat().st_size / 1e6:.0f} MB")
    if words.server:
        with run_server(server) as address:
            measure(words.home, address, words.repeats)
    else:
        measure(words.home, server.uri, words.repeats)


def measure(home: Path, uri: str, repeats: int) -> None:
    cache = home / "cache"
    for name in ("cold", "warm"):
        seconds = []
        for _ in range(repeats):
            if name == "cold":
                shutil.rmtree(cache, ignore_errors=True)
            spent, tracked = timed(home, cache, "--from", uri)
            seconds.append(spent)
        print(f"{name}: {min(seconds):.2f} s (best of {repeats}; worst {max(seconds):.2f})")
    _, stored = timed(home, cache)
    print(f"the same bytes as from the store: {stored == tracked}")


if __name__ == "__main__":
    main()
