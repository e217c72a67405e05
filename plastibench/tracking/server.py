"""Where MLflow keeps its runs: a database in the home folder, another database, or a server."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError, is_installed, not_installed, require
from plastibench.system.locks import DATABASE_LOCK_SECONDS, file_lock
from plastibench.system.uris import check_address, explain_without_password, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

logger = logging.getLogger(__name__)

DATABASE = "mlflow.db"
ARTIFACTS = "mlflow-artifacts"
LOCK = "mlflow.lock"
PAGE_APP = "plastibench"
"""The name of the entry point of `page_app`."""
VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own variable, which may have been set for other programs."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https")
TIMEOUT_SECONDS = 5.0
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # errors are raised as well
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with its password
    "MLFLOW_HTTP_REQUEST_TIMEOUT": f"{2 * TIMEOUT_SECONDS:.0f}",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the default takes minutes
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PGCONNECT_TIMEOUT": f"{TIMEOUT_SECONDS:.0f}",
    "GIT_PYTHON_REFRESH": "quiet",
}


def page_app_options() -> list[str]:
    """Return the options with which MLflow's server serves `page_app`, if what is installed declares it."""
    declared = entry_points(group="mlflow.app", name=PAGE_APP)
    return ["--app-name", PAGE_APP] if declared else []


def configure_mlflow(home: Path) -> None:
    """Set environment variables of MLflow and its libraries that the user has not set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        Path.home()
    except RuntimeError:  # HOME is unset and the system does not know the user: MLflow cannot be imported
        os.environ["HOME"] = str(home.resolve())
    logging.getLogger("alembic").setLevel(logging.WARNING)


@dataclass(frozen=True)
class TrackingServer:
    """A tracking URI of MLflow's, as one home folder uses it."""

    uri: str = field(repr=False)
    home: Path
    timeout_seconds: float = TIMEOUT_SECONDS
    is_optional: bool = False
    """Whether only MLflow's own variable names it: the database in the home folder can replace it."""

    @classmethod
    def choose(cls, uri: str | None, home: Path) -> TrackingServer:
        """Return the server that the user asked for, that of MLflow's variable, or the home's database.

        Raises RequestError for an address that the user asked for and that MLflow cannot use.
        """
        uri_of_others = os.environ.get(VARIABLE)
        if uri or not uri_of_others:
            return cls.from_uri(uri, home)
        try:
            return replace(cls.from_uri(uri_of_others, home), is_optional=True)
        except RequestError as error:
            return cls("", home).replacement(error)

    @classmethod
    def to_mirror(cls, uri: str | None, home: Path) -> TrackingServer | None:
        """Return the server to mirror runs to, or None if mlflow is not installed and nobody asked for it.

        Raises RequestError for an address that the user asked for and that cannot be used.
        """
        if uri:
            require("mlflow", f"--tracking-uri {without_password(uri)}")
        elif not is_installed("mlflow"):
            logger.info("no mirror of the runs: it needs %s", not_installed("mlflow"))
            return None
        return cls.choose(uri, home)

    @classmethod
    def from_uri(cls, uri: str | None, home: Path) -> TrackingServer:
        """Return the server at an address, or the database in the home folder for None.

        Raises RequestError for an address that MLflow cannot use.
        """
        if not uri:
            path = (home / DATABASE).resolve()
            if "?" in str(path):
                raise RequestError(
                    f"MLflow cannot use a path with a question mark: {path} (--no-mlflow leaves it out)"
                )
            return cls(f"sqlite:///{path}", home)
        scheme, separator, _ = uri.partition("://")
        if not separator or scheme.partition("+")[0] not in DATABASES + SERVERS:
            allowed = ", ".join(f"{name}://" for name in DATABASES + SERVERS)
            raise RequestError(
                f"tracking address {without_password(uri)} is not allowed: it must begin with {allowed}"
            )
        check_address("tracking address", uri)
        # SQLAlchemy's default driver for PostgreSQL is the one before psycopg.
        return cls(f"postgresql+psycopg{uri[len(scheme) :]}" if scheme == "postgresql" else uri, home)

    def replacement(self, error: Exception) -> TrackingServer:
        """Return the database in the home folder, in place of an optional server that cannot be used."""
        logger.warning(
            "%s is ignored (%s): the database in the home folder is used", VARIABLE, self.explain(error)
        )
        return self.from_uri(None, self.home)

    @property
    def display_uri(self) -> str:
        """Return the address without its password."""
        return without_password(self.uri)

    @property
    def is_default(self) -> bool:
        """Return whether it is the database in the home folder."""
        return self.sqlite_path == (self.home / DATABASE).resolve()

    @property
    def is_database(self) -> bool:
        """Return whether it is used without a server of MLflow's."""
        return not self.uri.startswith(SERVERS)

    @property
    def sqlite_path(self) -> Path | None:
        """Return the file of an SQLite database."""
        head, _, path = self.uri.partition(":///")
        return Path(path.partition("?")[0]) if head.startswith("sqlite") else None

    @property
    def lock_file(self) -> Path:
        """Return the file that `write_lock` locks; its text is the last writer's."""
        file = self.sqlite_path
        return self.home / LOCK if file is None else file.with_name(f"{file.name}.lock")

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold a lock under which one process at a time writes what home folders mirror."""
        self.home.mkdir(parents=True, exist_ok=True)
        with file_lock(self.lock_file, wait=DATABASE_LOCK_SECONDS):
            if self.sqlite_path is not None:
                self.check()  # waits longer than MLflow does
            yield

    def connect(self) -> MlflowClient:
        """Return a client, with the tables created. Hold `write_lock`: that is safe in one process only.

        Raises what the database or the server raises if it cannot be reached, within seconds.
        """
        self.check()
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        client.search_experiments(max_results=1)
        return client

    def check(self) -> None:
        """Raise an error if nothing answers or nothing can be written: MLflow would retry for minutes."""
        configure_mlflow(self.home)
        if self.sqlite_path is not None:
            with closing(sqlite3.connect(self.sqlite_path, timeout=DATABASE_LOCK_SECONDS)) as database:
                database.execute("BEGIN IMMEDIATE")
        elif self.is_database:
            self.query("SELECT 1")
        else:
            self.post("experiments/search", {"max_results": 1}, self.timeout_seconds)

    def query(self, sql: str, **values: str) -> list[Any]:
        """Return the rows of a query on a database, without mlflow, whose import takes seconds."""
        configure_mlflow(self.home)
        if self.sqlite_path is not None:
            uri = f"{self.sqlite_path.resolve().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=DATABASE_LOCK_SECONDS)) as database:
                return database.execute(sql, values).fetchall()
        try:
            import sqlalchemy
        except ImportError:
            require("mlflow", f"the database {self.display_uri}")
            raise

        engine = sqlalchemy.create_engine(self.uri)
        try:
            with engine.connect() as connection:
                return list(connection.execute(sqlalchemy.text(sql), values).fetchall())
        finally:
            engine.dispose()

    def post(self, endpoint: str, body: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Return a server's response from an endpoint such as `runs/search`, with every login of MLflow's."""
        require("mlflow", f"the server {self.display_uri}")
        configure_mlflow(self.home)
        from mlflow.utils import credentials, rest_utils

        http_request: Any = rest_utils.http_request  # has no types
        get_login: Any = credentials.get_default_host_creds
        path = f"/api/2.0/mlflow/{endpoint}"
        response = http_request(get_login(self.uri), path, "POST", max_retries=0, timeout=timeout, json=body)
        content: dict[str, Any] = rest_utils.verify_rest_response(response, path).json()
        return content

    def explain(self, error: BaseException) -> str:
        """Return one line for an error, without the password."""
        return explain_without_password(error, self.uri)


def ensure_experiment(client: MlflowClient, server: TrackingServer, name: str, folder: str) -> Experiment:
    """Return an experiment, created or restored if need be, with its artifacts in a folder of its own."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # Without a location MLflow would write into the current directory; a server has its own.
        location = (server.home / ARTIFACTS / folder).resolve().as_uri() if server.is_database else None
        return client.get_experiment(client.create_experiment(name, location))
    if experiment.lifecycle_stage == "deleted":  # on MLflow's page
        client.restore_experiment(experiment.experiment_id)
    return experiment
