"""Checkpoints on disk: written atomically, verified by a digest, with the previous one as a fallback."""

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.system.files import fsync_directory, write_atomic
from plastibench.training.callbacks import StateDict

CHECKPOINT_FILES = ("checkpoint.pt", "checkpoint.previous.pt")
"""The newest checkpoint, and the one before it."""
MAGIC = b"plastibench checkpoint 1\n"
"""The start of a file. A line with the SHA-256 of the rest follows, in hexadecimal."""
HEADER_SIZE = len(MAGIC) + 65


class Checkpoint:
    """The saved state of one run."""

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self.run = run
        """The id of the run; the state of another run is refused."""

    def write(self, state: StateDict) -> None:
        """Save a state. Raises OSError if that fails; the previous one is then still there."""
        newest, previous = (self.folder / name for name in CHECKPOINT_FILES)
        write_atomic(newest, pack(self.run, state), backup=previous)
        fsync_directory(self.folder)

    def read(self, log: Callable[[str], None]) -> StateDict | None:
        """Return the newest intact state, or None if there is none; damaged ones are logged.

        Raises RequestError if they are kept elsewhere, and that place does not answer.
        """
        for name in CHECKPOINT_FILES:
            try:
                return unpack(self.run, memoryview(self._load(name)))
            except FileNotFoundError:
                continue
            except RequestError:
                raise
            except Exception as error:  # torch raises anything for a damaged file
                fallback = "using the previous one" if name == CHECKPOINT_FILES[0] else "starting over"
                log(
                    f"{self._address(name)} is damaged ({type(error).__name__}: {error}): {fallback}".replace(
                        "\n", " "
                    )
                )
        return None

    def exists(self) -> bool:
        """Return whether there is a saved state, intact or damaged."""
        return any((self.folder / name).exists() for name in CHECKPOINT_FILES)

    def remove(self) -> None:
        """Remove all files, including those of a process that was killed while writing."""
        files = (self.folder / name for name in CHECKPOINT_FILES)
        for path in (*files, *self.folder.glob(f".{CHECKPOINT_FILES[0]}.*")):
            with suppress(OSError):
                path.unlink()

    def _address(self, name: str) -> str:
        return str(self.folder / name)

    def _load(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def pack(run: str, state: StateDict) -> memoryview:
    """Return the content of a file that holds the state of a run."""
    import torch

    buffer = io.BytesIO()
    buffer.write(bytes(HEADER_SIZE))
    torch.save({"run": run, "state": state}, buffer)
    content = buffer.getbuffer()
    digest = hashlib.sha256(content[HEADER_SIZE:]).hexdigest()
    content[:HEADER_SIZE] = MAGIC + f"{digest}\n".encode()
    return content


def unpack(run: str, content: memoryview) -> StateDict:
    """Return the state that a file holds. Raises ValueError, or what torch raises, if it is damaged."""
    import torch

    if bytes(content[: len(MAGIC)]) != MAGIC:
        raise ValueError("it is not a checkpoint of this version")
    digest = hashlib.sha256(content[HEADER_SIZE:]).hexdigest()
    if bytes(content[len(MAGIC) : HEADER_SIZE]) != f"{digest}\n".encode():
        raise ValueError("its digest is wrong")
    # weights_only: tensors and plain values, never code.
    saved = torch.load(io.BytesIO(content[HEADER_SIZE:]), map_location="cpu", weights_only=True)
    if saved["run"] != run:
        raise ValueError(f"it belongs to run {saved['run']}")
    state: StateDict = saved["state"]
    return state
