"""Where trials are kept: a journal in the home folder, or any storage of Optuna's."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.errors import RequestError, explain
from plastibench.store.tuned_settings import FOLDER

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

JOURNAL = "journal.log"


def open_storage(home: Path, url: str | None) -> BaseStorage:
    """Return the trials kept under `home`, or those at the address of an Optuna storage.

    Raises RequestError where it cannot be reached.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        (home / FOLDER).mkdir(parents=True, exist_ok=True)  # for locks, wherever the trials are kept
    except OSError as error:
        raise RequestError(f"{home / FOLDER} cannot be written: {explain(error)}") from error
    if url is None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        try:
            _mend(home / FOLDER / JOURNAL)
            return JournalStorage(JournalFileBackend(str(home / FOLDER / JOURNAL)))
        except (OSError, ValueError, KeyError) as error:
            raise RequestError(
                f"trials in {home / FOLDER / JOURNAL} cannot be used: {explain(error)}"
            ) from error
    from sqlalchemy.pool import NullPool

    try:
        # Workers train most of the time: none holds a connection meanwhile, of which servers have few.
        return optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    except Exception as error:  # a driver that is missing or any of its own errors
        raise RequestError(f"storage {shown(url)} cannot be reached: {_plain(error, url)}") from error


def shown(url: str) -> str:
    """Return an address without its password."""
    head, at, host = url.rpartition("@")
    scheme, slashes, login = head.partition("://")
    return f"{scheme}{slashes}{login.partition(':')[0]}{at}{host}" if at else url


def _plain(error: Exception, url: str) -> str:
    password = url.rpartition("@")[0].partition("://")[2].partition(":")[2]
    text = explain(error)
    return text.replace(password, "***") if password else text


def _mend(journal: Path) -> None:
    """Cut off a line that a killed writer left unfinished: Optuna would read no further.

    Under Optuna's own lock: a line that somebody is still writing is whole when the lock is had, and the lock
    of a writer that died counts as given back after Optuna's 30 seconds.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    if not _is_cut(journal):
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        if _is_cut(journal):
            with journal.open("rb+") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
    finally:
        lock.release()


def _is_cut(journal: Path) -> bool:
    """Return whether the last line has no end."""
    if not journal.exists():
        return False
    with journal.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"", b"\n")


def load_studies(store: BaseStorage, tuning: str) -> list[optuna.Study]:
    """Return the studies of a tuning, sorted by name."""
    import optuna

    names = sorted(name for name in optuna.get_all_study_names(store) if name.startswith(f"{tuning}/"))
    return [optuna.load_study(study_name=name, storage=store) for name in names]


def tuning_names(store: BaseStorage) -> list[str]:
    """Return the names of the tunings in a storage."""
    import optuna

    return sorted({name.rpartition("/")[0] for name in optuna.get_all_study_names(store) if "/" in name})
