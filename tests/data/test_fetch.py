"""Downloads against a real server: whole, cut, resumed, altered, mirrored, absent."""

from __future__ import annotations

import hashlib
import os
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plastibench.data.fetch import RemoteFile, download_urls, fetch
from plastibench.errors import DataError

if TYPE_CHECKING:
    from data.conftest import FileServer

CONTENT = bytes(range(256)) * 12_000
"""3 MB: more than one block."""


def remote(*urls: str, content: bytes = CONTENT) -> RemoteFile:
    digest = f"md5:{hashlib.md5(content).hexdigest()}"
    return RemoteFile("set.bin", urls, digest, size=len(content))


@pytest.fixture
def file(server: FileServer) -> RemoteFile:
    server.files["set.bin"] = CONTENT
    return remote(f"{server.url}/set.bin")


def test_download_is_verified_and_kept(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    path = fetch(file, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "set.bin"
    assert path.read_bytes() == CONTENT
    assert sorted(path.parent.iterdir()) == [path]
    assert fetch(file, path.parent) == path
    assert len(server.requests) == 1


def test_download_is_logged_and_nothing_is_printed(
    file: RemoteFile, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", logger="plastibench")
    fetch(file, tmp_path)
    assert caplog.messages == [f"downloading {file.urls[0]} ...", f"downloading {file.urls[0]}: done"]
    assert capfd.readouterr() == ("", "")


def test_cut_connection_is_resumed(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    server.cuts = [1_500_000, 1_000]
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.requests == [
        ("set.bin", None),
        ("set.bin", "bytes=1500000-"),
        ("set.bin", "bytes=1501000-"),
    ]


def test_partial_file_of_an_earlier_run_is_continued(
    server: FileServer, file: RemoteFile, tmp_path: Path
) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:2_000_000])
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.requests == [("set.bin", "bytes=2000000-")]


@pytest.mark.parametrize("length", [5, len(CONTENT), len(CONTENT) + 9])
def test_wrong_partial_file_is_replaced(
    server: FileServer, file: RemoteFile, tmp_path: Path, length: int
) -> None:
    (tmp_path / "set.bin.part").write_bytes(b"x" * length)
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [f"bytes={length}-", None]


def test_complete_partial_file_needs_no_body(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").write_bytes(CONTENT)
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_server_without_ranges(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [1_000_000]
    (tmp_path / "set.bin.part").write_bytes(CONTENT[:2_000_000])
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_an_address_without_content_is_tried_once(
    server: FileServer, file: RemoteFile, tmp_path: Path
) -> None:
    server.cuts = [0] * 9
    with pytest.raises(DataError, match=r"the connection was lost after 0 of 3072000 bytes"):
        fetch(file, tmp_path)
    assert len(server.requests) == 1


def test_wrong_bytes_are_refused_and_removed(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    server.files["set.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match="not the published file, by its checksum") as caught:
        fetch(file, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[:-1] + b"?", b""])
def test_damaged_copy_is_refused_not_replaced(
    server: FileServer, file: RemoteFile, tmp_path: Path, damaged: bytes
) -> None:
    (tmp_path / "set.bin").write_bytes(damaged)
    with pytest.raises(DataError, match="truncated or altered"):
        fetch(file, tmp_path)
    assert (tmp_path / "set.bin").read_bytes() == damaged
    assert server.requests == []


def test_folders_are_searched_in_order(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "set.bin").write_bytes(CONTENT)
    assert fetch(file, tmp_path, ("a", "b")) == tmp_path / "b" / "set.bin"
    (tmp_path / "b" / "set.bin").unlink()
    assert fetch(file, tmp_path, ("a", "b")) == tmp_path / "a" / "set.bin"


def test_next_address_after_a_missing_or_altered_file(server: FileServer, tmp_path: Path) -> None:
    server.files |= {"altered": CONTENT[1:], "good": CONTENT}
    file = remote(*(f"{server.url}/{name}" for name in ("missing", "altered", "good")))
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert [name for name, _ in server.requests] == ["missing", "altered", "good"]


def test_mirrors_of_the_environment_come_first(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "set.bin").write_bytes(CONTENT)
    monkeypatch.setenv("PLASTIBENCH_MIRROR", f"{server.url}/none/, {mirror.as_uri()}")
    file = remote("http://example.invalid/set.bin")
    assert download_urls(file)[0] == f"{server.url}/none/set.bin"
    assert fetch(file, tmp_path / "data").read_bytes() == CONTENT
    assert server.requests == [("none/set.bin", None)]


@pytest.mark.parametrize(
    "mirror",
    [
        "http://me:hunter2@127.0.0.1",  # urllib takes what follows the colon for a port
        "http://127.0.0.1:9/x?sig=hunter2",
        "me:hunter2@127.0.0.1:9/x",
        "ftp://me:hun%74er2@127.0.0.1",
    ],
)
def test_login_of_a_mirror_is_shown_nowhere(
    mirror: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PLASTIBENCH_MIRROR", mirror)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    caplog.set_level("INFO", logger="plastibench")
    with pytest.raises(DataError) as caught:
        fetch(remote("http://127.0.0.1:9/set.bin"), tmp_path)
    shown = "".join(traceback.format_exception(caught.value)) + capfd.readouterr().err
    assert "downloading" in shown
    assert "hunter2" not in shown
    assert "hun%74er2" not in shown


def test_offline_is_one_sentence(tmp_path: Path, server: FileServer) -> None:
    # Port 9 of this machine: nothing listens there.
    url = "http://127.0.0.1:9/set.bin"
    with pytest.raises(DataError) as caught:
        fetch(remote(url), tmp_path)
    said = str(caught.value)
    assert said.startswith(f"set.bin is not in {tmp_path} and could not be downloaded")
    assert said.endswith(f"get it from {url} and put it there")
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/set.bin", "data:,set.bin", "set.bin"])
def test_other_schemes_are_refused(server: FileServer, tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="is not one of http, https, file"):
        fetch(remote(url), tmp_path)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_redirection_leads_to_no_other_scheme(
    server: FileServer, file: RemoteFile, tmp_path: Path, target: str
) -> None:
    server.redirects["set.bin"] = target
    with pytest.raises(DataError, match="could not be downloaded"):
        fetch(file, tmp_path)


def test_folder_that_is_a_file(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(DataError, match="choose a writable data folder"):
        fetch(file, tmp_path / "data")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="choose a writable data folder"):
        fetch(file, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_full_disk_is_one_sentence(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    (tmp_path / "set.bin.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"is full: there is no room for set\.bin \(3 MB\)"):
        fetch(file, tmp_path)


def test_two_processes_download_a_file_once(server: FileServer, file: RemoteFile, tmp_path: Path) -> None:
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(file, tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / "set.bin"] * 3
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "set.bin"]
