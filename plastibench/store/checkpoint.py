"""The whole state of a run on disk: written aside and renamed, digested, the one before it at hand."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from plastibench.system.files import fsync_directory
from plastibench.training.callbacks import StateDict

NAMES = ("checkpoint.pt", "checkpoint.previous.pt")
"""The newest state, and the one before it."""

MAGIC = b"plastibench checkpoint 1\n"
"""What a file begins with; the digest of the rest follows, 64 hexadecimal digits and a line's end."""

HEAD = len(MAGIC) + 65


class Checkpoint:
    """The state of one run in the run's folder."""

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self.run = run
        """The id of the run: the state of another one is refused."""

    def write(self, state: StateDict) -> None:
        """Put a state on the disk in place of the one before.

        Whenever this is interrupted, one whole state is there. Raises OSError, a full disk's say.
        """
        import torch

        buffer = io.BytesIO()
        torch.save({"run": self.run, "state": state}, buffer)
        newest, previous = (self.folder / name for name in NAMES)
        temporary = newest.with_name(f".{newest.name}.{os.getpid()}")
        try:
            _write_whole(temporary, buffer.getbuffer())
            with suppress(FileNotFoundError):
                newest.replace(previous)
            temporary.replace(newest)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        fsync_directory(self.folder)

    def read(self, say: Callable[[str], None]) -> StateDict | None:
        """Return the newest state that is whole, or None; `say` is told of every one that is damaged."""
        for name in NAMES:
            path = self.folder / name
            try:
                return _read(path, self.run)
            except FileNotFoundError:
                continue
            # A damaged file can make torch raise anything.
            except Exception as error:
                then = "the one before is taken" if name == NAMES[0] else "the run begins anew"
                say(f"{path} is damaged ({type(error).__name__}: {error}): {then}".replace("\n", " "))
        return None

    def exists(self) -> bool:
        """Return whether there is a state, damaged or whole."""
        return any((self.folder / name).exists() for name in NAMES)

    def remove(self) -> None:
        """Delete what is there, also what a killed process was writing."""
        for path in (*(self.folder / name for name in NAMES), *self.folder.glob(f".{NAMES[0]}.*")):
            with suppress(OSError):
                path.unlink()


def _write_whole(path: Path, payload: memoryview) -> None:
    with path.open("wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n")
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, run: str) -> StateDict:
    """Read a file. Raises ValueError, or what torch raises, where it is not what was written."""
    import torch

    content = memoryview(path.read_bytes())
    if bytes(content[: len(MAGIC)]) != MAGIC:
        raise ValueError("it is not a checkpoint of this version")
    if hashlib.sha256(content[HEAD:]).hexdigest().encode() != bytes(content[len(MAGIC) : HEAD - 1]):
        raise ValueError("its digest is wrong")
    # weights_only: tensors and plain values, never code.
    kept = torch.load(io.BytesIO(content[HEAD:]), map_location="cpu", weights_only=True)
    if kept["run"] != run:
        raise ValueError(f"it belongs to run {kept['run']}")
    state: StateDict = kept["state"]
    return state
