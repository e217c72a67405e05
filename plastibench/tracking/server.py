"""Where the mirror is: a database in the home folder, another database, or a server."""

from __future__ import annotations

import importlib.util
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError
from plastibench.system.locks import file_lock
from plastibench.system.uris import explain_without_password, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
ARTIFACTS = "mlflow-artifacts"
LOCK = "mlflow.lock"
PREFIX = "plastibench/"
"""Of the names of experiments: others may have theirs on the same server."""
VIEW = "plastibench"
"""The name under which an experiment keeps how its page is to look."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
PATIENCE_SECONDS = 5.0
"""How long a server may take to answer."""
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": f"{2 * PATIENCE_SECONDS:.0f}",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # for minutes, else
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PGCONNECT_TIMEOUT": f"{PATIENCE_SECONDS:.0f}",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Of MLflow and of what it builds on; what the user has set stays."""


def is_available() -> bool:
    """Return whether mlflow is installed."""
    return importlib.util.find_spec("mlflow") is not None


@dataclass(frozen=True)
class TrackingServer:
    """A place that MLflow writes to, as one home folder uses it."""

    uri: str
    home: Path

    @classmethod
    def from_uri(cls, text: str | None, home: Path) -> TrackingServer:
        """Return the place that a user named, or the database in the home folder.

        Raises RequestError for an address of another kind.
        """
        if not text:
            path = (home / DATABASE).resolve()
            if "?" in str(path):
                raise RequestError(
                    f"MLflow cannot use a path with a question mark: {path} (--no-mlflow leaves it out)"
                )
            return cls(f"sqlite:///{path}", home)
        scheme = text.partition("://")[0].partition("+")[0]
        if "://" not in text or scheme not in DATABASES + SERVERS:
            allowed = ", ".join(f"{name}://" for name in DATABASES + SERVERS)
            raise RequestError(
                f"tracking address {without_password(text)} is not allowed: it must begin with {allowed}"
            )
        # SQLAlchemy takes the driver of before for granted; the one that is kept up is psycopg.
        driver = "postgresql+psycopg://"
        return cls(
            text.replace("postgresql://", driver, 1) if text.startswith("postgresql://") else text, home
        )

    @property
    def display_uri(self) -> str:
        """Return the address without its password."""
        return without_password(self.uri)

    @property
    def is_default(self) -> bool:
        """Return whether it is the database in the home folder."""
        return self.uri == f"sqlite:///{(self.home / DATABASE).resolve()}"

    @property
    def is_database(self) -> bool:
        """Return whether it is written to without a server of MLflow's."""
        return not self.uri.startswith(SERVERS)

    @property
    def sqlite_path(self) -> Path | None:
        """Return the file of an SQLite database."""
        head, _, path = self.uri.partition(":///")
        return Path(path.partition("?")[0]) if head.startswith("sqlite") else None

    def artifact_location(self, leaderboard: str) -> str | None:
        """Return where artifacts go; None leaves that to the server.

        Without a location MLflow would put them into whatever folder the user is in.
        """
        return (self.home / ARTIFACTS / leaderboard).resolve().as_uri() if self.is_database else None

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold the right to write: no two processes of a home folder write to its mirror at once."""
        self.home.mkdir(parents=True, exist_ok=True)
        with file_lock(self.lock):
            yield

    @property
    def lock(self) -> Path:
        """Return the file whose lock is the right to write."""
        file = self.sqlite_path
        return self.home / LOCK if file is None else file.with_name(f"{file.name}.lock")

    def connect(self) -> MlflowClient:
        """Return a client, the tables being there. Hold `alone`: two processes cannot make them at once.

        Raises what the database or the server raises where it cannot be reached, within seconds.
        """
        self.check()
        client: MlflowClient = _mlflow()(tracking_uri=self.uri)
        client.search_experiments(max_results=1)
        return client

    def check(self) -> None:
        """Raise an error where nothing answers or nothing can be written: MLflow would try for minutes."""
        configure_mlflow()
        if self.sqlite_path is not None:
            with closing(sqlite3.connect(self.sqlite_path)) as store:
                store.execute("BEGIN IMMEDIATE")
        elif self.is_database:
            import sqlalchemy

            engine = sqlalchemy.create_engine(self.uri)
            try:
                engine.connect().close()
            finally:
                engine.dispose()
        else:
            from plastibench.tracking.rest import post

            post(self.uri, "experiments/search", {"max_results": 1})

    def explain(self, error: BaseException) -> str:
        """Return one line for an error, without the password."""
        return explain_without_password(error, self.uri)


def leaderboard_links(server: TrackingServer) -> list[tuple[str, str]]:
    """Return the name and the link of each leaderboard in an SQLite mirror, without importing mlflow."""
    query = "SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active' ORDER BY name"
    if server.sqlite_path is None:
        return []
    try:
        with closing(sqlite3.connect(f"{server.sqlite_path.resolve().as_uri()}?mode=ro", uri=True)) as store:
            found = store.execute(query).fetchall()
    except sqlite3.Error:
        return []
    return [(name.removeprefix(PREFIX), link(key)) for name, key in found if name.startswith(PREFIX)]


def link(experiment: object) -> str:
    """Return the address of a leaderboard behind a server's own: what a person needs, the best run first."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={VIEW}"


def configure_mlflow() -> None:
    """Set what MLflow reads from the environment, where the user has set nothing."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _mlflow() -> Any:  # noqa: ANN401 - a class of an untyped package
    from mlflow import MlflowClient

    return MlflowClient
