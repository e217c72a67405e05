"""Where checkpoints are kept: beside the run, in another folder, or at an address that fsspec can open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, one_line, unknown
from plastibench.store.checkpoint import CHECKPOINT_FILES, Checkpoint, pack
from plastibench.system.files import process_name
from plastibench.training.callbacks import StateDict


def open_checkpoint(storage: str | None, folder: Path, run: str) -> Checkpoint:
    """Return the checkpoint of a run: in its folder, or in the storage.

    The storage has the layout of a home folder, so that a home folder can be one.
    """
    if storage is None:
        return Checkpoint(folder, run)
    place = f"runs/{run[:2]}/{run}"
    if "://" not in storage:
        return FolderCheckpoint(Path(storage) / place, run)
    files, root = _file_system(storage)
    return RemoteCheckpoint(files, f"{root.rstrip('/')}/{place}", run)


def check_storage(storage: str) -> str:
    """Return the storage as every machine understands it, after a file was written there and removed.

    Raises RequestError if that is not possible.
    """
    if storage.startswith("file://"):
        storage = storage.removeprefix("file://")
    if "://" not in storage:
        storage = str(Path(storage).expanduser().absolute())
    mark_storage(storage).remove()
    return storage


def mark_storage(storage: str) -> Checkpoint:
    """Write a file by which other machines can tell that they see this storage, until it is removed.

    Raises RequestError if that is not possible.
    """
    mark = open_checkpoint(storage, Path(), f"mark-{process_name()}")
    try:
        mark.write({})
    except OSError as error:
        raise _unusable(storage, error.strerror or str(error)) from error
    return mark


def check_mark(storage: str, mark: str) -> None:
    """Raise RequestError if this storage cannot be read, or is not the one with the mark of this name."""
    if not open_checkpoint(storage, Path(), mark).exists():
        raise _unusable(storage, "it is not the one that the command sees; mount it on every node")


class FolderCheckpoint(Checkpoint):
    """A checkpoint in a folder of its own, which comes and goes with it."""

    def write(self, state: StateDict) -> None:
        """Make the folder, too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        super().write(state)

    def remove(self) -> None:
        """Remove the folder, too, if nothing else is in it."""
        super().remove()
        with suppress(OSError):
            self.folder.rmdir()


class RemoteCheckpoint(Checkpoint):
    """A checkpoint at an address of fsspec, such as s3://bucket/folder."""

    def __init__(self, files: Any, place: str, run: str) -> None:  # noqa: ANN401 - a file system of fsspec
        super().__init__(Path(), run)
        self.files, self.place = files, place

    def write(self, state: StateDict) -> None:
        """Save a state. Raises OSError if that fails; the previous one is then still there."""
        newest, previous = (self._address(name) for name in CHECKPOINT_FILES)
        temporary = self._address(f".{CHECKPOINT_FILES[0]}.{process_name()}")
        with _as_os_error():
            self.files.invalidate_cache()
            self.files.makedirs(self.place, exist_ok=True)
            with self.files.open(temporary, "wb") as file:
                file.write(pack(self.run, state))
            if self.files.exists(newest):
                if self.files.exists(previous):  # not every file system replaces a file
                    self.files.rm(previous)
                self.files.mv(newest, previous)
            self.files.mv(temporary, newest)

    def exists(self) -> bool:
        """Return whether there is a saved state, intact or damaged. Raises RequestError."""
        with self._readable():
            self.files.invalidate_cache()
            return any(self.files.exists(self._address(name)) for name in CHECKPOINT_FILES)

    def remove(self) -> None:
        """Remove all files."""
        with suppress(Exception):  # whatever a library raises: a file that is left costs space only
            self.files.rm(self.place, recursive=True)

    def _address(self, name: str) -> str:
        return f"{self.place}/{name}"

    def _load(self, name: str) -> bytes:
        with self._readable():
            self.files.invalidate_cache()
            content: bytes = self.files.cat_file(self._address(name))
            return content

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Tell a storage that does not answer, whose runs must not start over, from one without the file."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            raise _unusable(self.place, str(error)) from error


def _file_system(storage: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it. Raises RequestError."""
    import fsspec

    protocol = storage.partition("://")[0]
    if protocol not in fsspec.available_protocols():
        raise unknown("kind of checkpoint storage", protocol, fsspec.available_protocols())
    try:
        files, root = fsspec.core.url_to_fs(storage)
        return files, str(root)
    except Exception as error:  # a package that is missing, or whatever it raises for an address
        raise _unusable(storage, str(error)) from error


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Raise OSError for whatever the library of a storage raises."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(one_line(f"{type(error).__name__}: {error}")) from error


def _unusable(storage: str, reason: str) -> RequestError:
    return RequestError(one_line(f"checkpoint storage {storage} cannot be used: {reason}"))
