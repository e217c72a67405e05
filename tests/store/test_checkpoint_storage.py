"""Checkpoints away from the runs: in a folder, or at an address that fsspec opens."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from plastibench.errors import RequestError
from plastibench.store.checkpoint import CHECKPOINT_FILES, Checkpoint
from plastibench.store.checkpoint_storage import check_mark, check_storage, mark_storage, open_checkpoint


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "folder" else f"memory://{tmp_path.name}"


def opened(storage: str) -> Checkpoint:
    return open_checkpoint(storage, Path("elsewhere"), "a-run")


def test_a_state_is_read_where_it_was_written_and_the_one_before_is_kept(storage: str) -> None:
    said: list[str] = []
    assert not opened(storage).exists()
    assert opened(storage).read(said.append) is None
    for number in range(3):
        opened(storage).write({"number": number})
    assert opened(storage).exists()
    assert opened(storage).read(said.append) == {"number": 2}
    files, root = fsspec.core.url_to_fs(storage)
    newest = next(path for path in files.find(root) if path.endswith(CHECKPOINT_FILES[0]))
    files.pipe_file(newest, files.cat_file(newest)[:-1])
    assert opened(storage).read(said.append) == {"number": 1}
    assert len(said) == 1
    assert "is damaged" in said[0]
    opened(storage).remove()
    assert files.find(root) == []
    assert not opened(storage).exists()


def test_another_machine_tells_by_a_mark_whether_it_sees_the_same_storage(storage: str) -> None:
    mark = mark_storage(storage)
    check_mark(storage, mark.run)
    with pytest.raises(RequestError, match="cannot be used: it is not the one that the command sees"):
        check_mark(f"{storage}/elsewhere", mark.run)
    mark.remove()
    with pytest.raises(RequestError, match="it is not the one"):
        check_mark(storage, mark.run)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("s4://bucket", "no kind of checkpoint storage named 's4'; did you mean 's3'?"),
        ("/proc/nothing", "checkpoint storage /proc/nothing cannot be used: "),
    ],
)
def test_a_storage_that_cannot_be_written_is_refused_before_any_run(storage: str, message: str) -> None:
    with pytest.raises(RequestError, match="storage") as refused:
        check_storage(storage)
    assert str(refused.value).startswith(message)
