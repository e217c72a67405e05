"""Storage of trials: a journal in the home folder, or any storage of Optuna's."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError, explain, require, writing
from plastibench.store.tuned_settings import FOLDER
from plastibench.system.locks import DATABASE_LOCK_SECONDS
from plastibench.system.uris import check_address, explain_without_password, without_password

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from sqlalchemy import Engine

JOURNAL = "journal.log"


class StorageError(RuntimeError):
    """A storage that could be used before cannot be used now."""


def open_storage(home: Path, url: str | None) -> BaseStorage:
    """Return the storage at an address, or the one in the home folder for None.

    Raises RequestError if it cannot be reached.
    """
    require("optuna", "reading trials")
    import optuna

    if url is not None:
        check_address("storage", url)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    folder = home / FOLDER
    with writing(f"folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)  # also holds locks, wherever the trials are
    return _open_journal(folder / JOURNAL) if url is None else _open_database(url)


def _open_journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        _repair(path)
        _check_last_line(path)
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:  # Optuna trusts what it reads: a damaged file can raise any error
        raise RequestError(f"trials in {path} cannot be used: {explain(error)}") from error


def _open_database(url: str) -> BaseStorage:
    import sqlalchemy
    from optuna.storages import RDBStorage
    from sqlalchemy.pool import NullPool

    # Workers train most of the time: none holds a connection meanwhile, of which servers have few.
    engine: dict[str, Any] = {"poolclass": NullPool}
    if url.startswith("sqlite") and "timeout=" not in url:
        engine["connect_args"] = {"timeout": DATABASE_LOCK_SECONDS}
    try:
        _check_owner(sqlalchemy.create_engine(url, **engine), url)
        return RDBStorage(url, engine_kwargs=engine)
    except RequestError:
        raise
    except Exception as error:  # a missing driver, or any of the driver's own errors
        reason = explain_without_password(error, url)
        raise RequestError(f"storage {without_password(url)} cannot be reached: {reason}") from error


def _check_owner(engine: Engine, url: str) -> None:
    """Raise RequestError for a database of a program that notes its version as Optuna does: MLflow's, say."""
    import sqlalchemy

    tables = sqlalchemy.inspect(engine).get_table_names()
    if "alembic_version" in tables and "studies" not in tables:
        raise RequestError(
            f"storage {without_password(url)} is the database of another program, such as MLflow: "
            "Optuna needs one of its own"
        )


@contextmanager
def storage_errors(url: str | None) -> Iterator[None]:
    """Turn errors of a storage in use into a StorageError that names their cause: Optuna names another."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except StorageInternalError as error:
        address = url or ""
        reason = explain_without_password(error, address)
        raise StorageError(f"storage {without_password(address)} cannot be used: {reason}") from error


def _repair(journal: Path) -> None:
    """Cut off a line that a killed writer left unfinished: the next one would be appended to it.

    Optuna's lock is held: a line that somebody still writes is whole by then, and a lock whose owner died
    expires after 30 seconds.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if _ends_within_line(journal):
        lock = JournalFileSymlinkLock(str(journal))
        lock.acquire()
        try:
            if _ends_within_line(journal):
                with journal.open("rb+") as file:
                    file.truncate(file.read().rfind(b"\n") + 1)
        finally:
            lock.release()


def _ends_within_line(journal: Path) -> bool:
    return journal.exists() and journal.read_bytes()[-1:] not in (b"", b"\n")


def _check_last_line(journal: Path) -> None:
    """Raise ValueError if the last whole line is damaged: Optuna forgives that until others follow it."""
    lines = journal.read_bytes().split(b"\n") if journal.exists() else []
    if len(lines) > 1:
        json.loads(lines[-2])


def load_studies(storage: BaseStorage, tuning: str) -> list[optuna.Study]:
    """Return the studies of a tuning, sorted by name."""
    import optuna

    names = sorted(name for name in optuna.get_all_study_names(storage) if name.startswith(f"{tuning}/"))
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


def tuning_names(storage: BaseStorage) -> list[str]:
    """Return the names of the tunings in a storage."""
    import optuna

    return sorted({name.rpartition("/")[0] for name in optuna.get_all_study_names(storage) if "/" in name})
