"""Tables from MLflow alone: the same bytes as from the store, from a database, a server and its cache."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.commands import SMALL, CommandResult, command, small_run
from support.servers import mlflow_server
from support.tracking import a_record, mirror, save
from support.workers import free_port

from plastibench.cli.render import FORMATS
from plastibench.store import tuned_settings
from plastibench.store.run_store import Store
from plastibench.store.tuned_settings import TunedSettings
from plastibench.tracking import DATABASE, TrackingServer
from plastibench.tracking.bulk.encoding import decode, encode

GRID = ("--method", "warm,cold", *SMALL, "--seeds", "2")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, empty_database: Callable[[Path], None]) -> Path:
    """Return a home folder with real runs, one of them with tuned settings, mirrored to its database."""
    home = tmp_path_factory.mktemp("home")
    empty_database(home)
    small_run(home, *GRID)
    first, *_ = Store(home).records()
    tuned_settings.save(home, {first.spec.variant_id: TunedSettings("a/study", 20, 7)})
    assert command("sync", "--home", home).status == 0
    return home


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[str]:
    """Run MLflow's server on a copy of that database; give its address."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    shutil.copy(home / DATABASE, folder / "server.db")
    with mlflow_server(folder, port):
        yield f"http://127.0.0.1:{port}"


def from_mlflow(uri: str, format: str, *words: object) -> CommandResult:
    """Print a table on a machine that has only an address."""
    return command("table", "--home", "/nowhere", "--from", uri, "--format", format, *words)


def check_tables(home: Path, uri: str) -> None:
    requests: list[tuple[object, ...]] = [(format,) for format in FORMATS]
    for words in [*requests, ("csv", *GRID), ("csv", "--style", "full")]:
        expected = command("table", "--home", home, "--format", *words)
        assert from_mlflow(uri, str(words[0]), *words[1:]) == expected, words
        assert "warm" in expected.out
    assert "(tuned, 20 trials)" in from_mlflow(uri, "text").out


@pytest.mark.heavy
def test_table_from_the_database_is_that_of_the_store(home: Path) -> None:
    check_tables(home, TrackingServer.from_uri(None, home).uri)


@pytest.mark.heavy
def test_table_from_a_server_and_from_its_cache_is_that_of_the_store(
    home: Path, server: str, cache: Path
) -> None:
    check_tables(home, server)
    (file,) = cache.rglob("*.json")
    file.write_text(file.read_text()[:-9])
    check_tables(home, server)  # a damaged cache counts as none


def num_seeds(uri: str) -> list[str]:
    """Return the number of seeds of each row in a table of the runs made by hand."""
    rows = csv.DictReader(from_mlflow(uri, "csv").out.splitlines())
    return [row["n"] for row in rows if row["method"] == "mine"]


def test_one_run_on_two_data_sets_is_two_records(tmp_path: Path) -> None:
    run = a_record(0)
    batches = [encode(record, ()) for record in (run, run.with_provenance(data="e" * 64), run)]
    assert [record.data for record in decode(batches).values()] == ["d" * 64, "e" * 64]


@pytest.mark.heavy
def test_cache_follows_new_and_deleted_runs(server: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    for seed in range(2):
        save(tmp_path / "home", a_record(seed))
        command("sync", "--home", tmp_path / "home", "--tracking-uri", server)
        assert num_seeds(server) == [str(seed + 1)]
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name("plastibench-records")
    assert experiment is not None
    newest, *_ = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    client.delete_run(newest.info.run_id)
    assert num_seeds(server) == ["1"]


@pytest.mark.heavy
def test_new_database_at_the_same_address_has_no_runs_of_the_old_one(
    tmp_path: Path, empty_database: Callable[[Path], None]
) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder, record in ((home, a_record(0)), (other, a_record(5, strength=2.0))):
        empty_database(folder)
        mirror(folder, "board", record)
    uri = TrackingServer.from_uri(None, home).uri
    assert num_seeds(uri) == ["1"]
    shutil.copy(other / DATABASE, home / DATABASE)
    assert "strength=2" in from_mlflow(uri, "md").out
    assert num_seeds(uri) == ["1"]


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://me:secret@127.0.0.1:1/x", "nonsense"])
def test_address_that_cannot_be_read_is_one_line(uri: str) -> None:
    answer = from_mlflow(uri, "text")
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert "secret" not in answer.err


def test_absent_database_is_one_line_and_stays_absent(tmp_path: Path) -> None:
    answer = from_mlflow(f"sqlite:///{tmp_path / 'none.db'}", "text")
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert not (tmp_path / "none.db").exists()


def test_database_without_our_runs_is_one_line(
    tmp_path: Path, empty_database: Callable[[Path], None]
) -> None:
    empty_database(tmp_path)
    answer = from_mlflow(f"sqlite:///{tmp_path / DATABASE}", "text")
    assert (answer.status, len(answer.lines())) == (2, 1), answer
    assert "no runs of plastibench in" in answer.err
