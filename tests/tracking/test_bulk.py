"""Tables from MLflow alone: the same bytes as from the store, by every way to it, also from the cache."""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import pytest
from support.commands import SMALL, Answer, command, program, small_run
from support.servers import mlflow_server, postgres
from support.tracking import QUIET, a_record, finish, values
from support.workers import free_port

import plastibench
from plastibench.cli.render import FORMATS
from plastibench.store import tuned_settings
from plastibench.store.run_store import Store
from plastibench.store.tuned_settings import TunedSettings
from plastibench.tracking import DATABASE, TrackingServer
from plastibench.tracking.bulk.memo import remembered

pytestmark = [pytest.mark.filterwarnings(words) for words in QUIET]

GRID = ("--method", "warm,cold", *SMALL, "--seeds", "2")
PACKS = (
    "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) "
    "WHERE experiments.name = 'plastibench-records' AND runs.lifecycle_stage = 'active'"
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home folder with real runs, one of whose settings was chosen by a tuning, and its mirror."""
    home = tmp_path_factory.mktemp("home")
    small_run(home, *GRID)
    first, *_ = Store(home).records()
    tuned_settings.save(home, {tuned_settings.variant_id(first.spec): TunedSettings("a/study", 20, 7)})
    assert command("sync", "--home", home).status == 0
    return home


def from_store(home: Path, form: str, *words: object) -> Answer:
    return command("table", "--home", home, "--format", form, *words)


def from_mlflow(uri: str, form: str, *words: object) -> Answer:
    """Print the table on a machine that has nothing but an address."""
    return command("table", "--home", "/nowhere", "--from", uri, "--format", form, *words)


def same(home: Path, uri: str) -> None:
    for form in FORMATS:
        for words in ((), GRID, ("--style", "full")):
            expected, found = from_store(home, form, *words), from_mlflow(uri, form, *words)
            assert found == expected, (form, words)
            assert from_mlflow(uri, form, *words) == expected, "as it is remembered"
            assert "warm" in found.out
    assert "(tuned, 20 trials)" in found.out


def test_table_from_the_database_is_that_of_the_store(home: Path) -> None:
    same(home, TrackingServer.from_uri(None, home).uri)


def test_table_from_a_server_is_that_of_the_store(home: Path, tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(tmp_path, port):
        command("sync", "--home", home, "--tracking-uri", uri)
        same(home, uri)


def test_table_from_postgresql_is_that_of_the_store(home: Path) -> None:
    with postgres() as uri:
        command("sync", "--home", home, "--tracking-uri", uri)
        same(home, uri)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    finish(home, a_record(0))
    command("sync", "--home", home)
    return home


def seeds(uri: str) -> str:
    """Return on how many seeds the only row of the table stands."""
    (row,) = csv.DictReader(from_mlflow(uri, "csv").out.splitlines())
    return row["n"]


def test_new_runs_are_seen_beside_those_that_are_in_the_cache(mine: Path, tmp_path: Path) -> None:
    uri = TrackingServer.from_uri(None, mine).uri
    assert seeds(uri) == "1"
    (cache,) = (tmp_path / "cache").rglob("*.json")
    before = cache.read_text()
    finish(mine, a_record(1))
    command("sync", "--home", mine)
    assert seeds(uri) == "2"
    assert cache.read_text() != before
    cache.write_text(cache.read_text()[:-9])
    assert seeds(uri) == "2", "a damaged cache is as none"


def test_what_is_gone_from_mlflow_is_not_in_the_cache_either(mine: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = TrackingServer.from_uri(None, mine).uri
    finish(mine, a_record(1))
    command("sync", "--home", mine)
    assert seeds(uri) == "2"
    _, (last,) = values(mine, f"{PACKS} ORDER BY runs.start_time")
    MlflowClient(tracking_uri=uri).delete_run(last)
    assert seeds(uri) == "1"
    (mine / DATABASE).unlink()
    finish(other := tmp_path / "other", a_record(5, strength=2.0))
    # In a process of its own: in this one MLflow would go on with the file that was removed.
    subprocess.run(program("sync", "--home", other, "--tracking-uri", uri), check=True, capture_output=True)
    assert "strength=2" in from_mlflow(uri, "md").out
    assert seeds(uri) == "1", "a new database has no ghosts of the old one"


def test_text_is_made_again_where_anything_in_it_has_changed(
    tmp_path: Path,
) -> None:
    made = list[str]()

    def make() -> str:
        made.append("x")
        return "\u00e4" * len(made)

    assert [remembered(tmp_path, [1, "a"], make) for _ in range(2)] == ["\u00e4", "\u00e4"]
    assert remembered(tmp_path, [1, "b"], make) == 2 * "\u00e4"
    (first,) = [path for path in tmp_path.iterdir() if path.read_text().endswith("\n\u00e4")]
    first.write_text(first.read_text() + "more")
    assert remembered(tmp_path, [1, "a"], make) == 3 * "\u00e4", "a damaged text is made again"
    source = Path(plastibench.__file__).with_name("version.py")
    stamp = source.stat()
    try:
        os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
        assert remembered(tmp_path, [1, "a"], make) == 4 * "\u00e4", "other code may say it otherwise"
    finally:
        os.utime(source, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://me:secret@127.0.0.1:1/x", "nonsense"])
def test_address_that_cannot_be_read_is_one_line(uri: str) -> None:
    answer = from_mlflow(uri, "text")
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert "secret" not in answer.err


def test_database_that_has_nothing_of_ours_is_one_line(tmp_path: Path) -> None:
    answer = from_mlflow(f"sqlite:///{tmp_path / 'none.db'}", "text")
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert not (tmp_path / "none.db").exists()
