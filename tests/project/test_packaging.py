"""The packages hold what they must, and run with what they declare where there is no checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from fnmatch import fnmatch
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from support.commands import SMALL
from support.tasks import small_digits

import plastibench
from plastibench.errors import EXTRAS
from plastibench.plugins.registry import Registry

ROOT = Path(plastibench.__file__).parents[1]
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
PACKAGES = {"plastibench": "plastibench", "methods": "plastibench/methods", "tasks": "plastibench/tasks"}
"""Folders of the tree, and what they are in a wheel."""
OPTIONAL = ("mlflow", "optuna", "ray", "psycopg", "sqlalchemy", "pytest")
NOT_COPIED = (
    ".git",
    ".venv",
    ".wheels",
    ".*_cache",
    ".coverage*",
    "__pycache__",
    "_build",
    "dist",
    "results",
    "*-home",
)
DRIVER = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from plastibench.cli.main import main

answers = []
for words in json.loads(sys.argv[1]):
    out, err, status = io.StringIO(), io.StringIO(), 0
    sys.argv = ["plastibench", *words]
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    answers.append([status, out.getvalue(), err.getvalue()])
installed = [name for name in json.loads(sys.stdin.read()) if find_spec(name)]
print(json.dumps([answers, installed]))
"""


class Built(NamedTuple):
    """What `python -m build` makes."""

    sdist: Path
    wheel: Path


class Answer(NamedTuple):
    """What a command said."""

    status: int
    out: str
    err: str


def files_in(folder: Path) -> set[str]:
    """Return every file in a folder of the tree, by its path in the tree."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    made = {"__pycache__", "_build", "site"}
    return {path.relative_to(ROOT).as_posix() for path in paths if not made & {*path.parts}}


def files_of_tree() -> set[str]:
    """Return every file of the packages by its name in a wheel."""
    return {
        name.replace(folder, target, 1)
        for folder, target in PACKAGES.items()
        for name in files_in(ROOT / folder)
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build a source package, and from it a wheel, of a copy: a build leaves folders beside the sources."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
    words = ["-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source"]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Built(*(next((folder / "dist").glob(pattern)) for pattern in ("*.tar.gz", "*.whl")))


def test_every_package_of_the_tree_is_in_the_list_of_packages() -> None:
    folders = {Path(name).parent.as_posix() for name in files_of_tree() if name.endswith("__init__.py")}
    assert {name.replace(".", "/") for name in TOOL["packages"]} == folders


def test_every_file_that_is_not_python_is_declared() -> None:
    declared = {
        f"{package.replace('.', '/')}/{pattern}"
        for package, patterns in TOOL["package-data"].items()
        for pattern in patterns
    }
    others = {name for name in files_of_tree() if not name.endswith(".py")}
    assert others
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in declared)] == []


def test_version_is_that_of_the_installed_package() -> None:
    assert version("plastibench") == plastibench.__version__


@pytest.mark.heavy
def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(built: Built) -> None:
    names = set(zipfile.ZipFile(built.wheel).namelist())
    info = f"plastibench-{plastibench.__version__}.dist-info"
    assert {name for name in names if not name.startswith(f"{info}/")} == files_of_tree()
    assert f"{info}/licenses/LICENSE" in names
    extras = set(metadata(built.wheel).get_all("Provides-Extra", []))
    assert extras >= {"ray", "postgres", "dashboard", "energy", "docs", "dev", "all", "mlflow", "tune"}


@pytest.mark.heavy
def test_the_source_package_has_what_it_takes_to_build_test_and_cite(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("tests", "docs", "benchmarks", "examples", *PACKAGES)
    files = ("pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "Makefile")
    assert {*files, *(name for folder in folders for name in files_in(ROOT / folder))} <= names


def metadata(wheel: Path) -> Any:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.mark.heavy
@pytest.mark.slow
def test_the_wheel_runs_with_what_it_declares_where_there_is_no_checkout(
    built: Built, registry: Registry, tmp_path: Path
) -> None:
    home, empty = ("--home", str(tmp_path / "home")), tmp_path / "empty"
    empty.mkdir()
    grid = ("--seeds", "1", *SMALL)
    words = (
        ("list", "--json"),
        ("run", "--method", "dash,warm", *home, *grid, "--jobs", "1"),
        ("table", *home),
        ("status", "--json", *home, "--method", ",".join(registry.names("method")), *grid),
        ("tune", "--task", "digits", "--trials", "1", *home),
        ("sync", *home),
        ("ui", *home),
        ("run", "--task", "digits", "--tracking-uri", "http://127.0.0.1:9", *home),
    )
    answers, installed = run_installed(built.wheel, tmp_path / "a venv", empty, words)
    assert installed == [], "what only extras bring"
    listed, ran, tabled, status, *lacking = answers
    assert [answer.status for answer in answers[:4]] == [0] * 4, [answer.err for answer in answers]
    for kind in ("method", "task", "model"):
        assert list(json.loads(listed.out)[f"{kind}s"]) == registry.names(kind)
    assert "quickstart" in json.loads(listed.out)["suites"]
    assert "it needs mlflow, which is not installed" in ran.err
    assert "dash" in tabled.out
    digits = small_digits(registry)
    names = [n for n in registry.names("method") if registry.load("method", n)().unsupported(digits) is None]
    states = {run["name"].split()[2]: run["state"] for run in json.loads(status.out)["runs"]}
    loaded = dict.fromkeys(names, "queued") | {"dash": "done", "warm": "done"}
    assert states == loaded, "each class is loaded to describe its run"
    records = [json.loads(path.read_text()) for path in (tmp_path / "home").rglob("run.json")]
    assert {record["provenance"]["commit"] for record in records} == {None}, "this was the checkout"
    assert list(empty.iterdir()) == []
    for answer, what in zip(lacking, ("optuna", "mlflow", "mlflow", "mlflow"), strict=True):
        extra = {"optuna": "tune"}.get(what, what)
        assert (answer.status, len(answer.err.splitlines())) == (2, 1), answer
        assert f"needs {what}, which is not installed: pip install 'plastibench[{extra}]'" in answer.err


def run_installed(
    wheel: Path, folder: Path, cwd: Path, commands: Iterable[Iterable[str]]
) -> tuple[list[Answer], list[str]]:
    """Run commands of the wheel in a fresh environment; return what they said, and which extras it has."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    link_dependencies(site, [Requirement(line) for line in metadata(wheel).get_all("Requires-Dist")])
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [folder / "bin" / "python", "-c", DRIVER, json.dumps([list(words) for words in commands])],
        cwd=cwd,
        env={**kept, "OMP_NUM_THREADS": "1"},
        input=json.dumps(OPTIONAL),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers, installed = json.loads(done.stdout)
    return [Answer(*answer) for answer in answers], installed


def link_dependencies(site: Path, requirements: Iterable[Requirement]) -> None:
    """Let an environment see what is required, directly or not, and nothing else that is installed here."""
    queue, seen = [(required, "") for required in requirements], set[tuple[str, str]]()
    while queue:
        required, wanted = queue.pop()
        if required.marker is not None and not required.marker.evaluate({"extra": wanted}):
            continue
        found = distribution(required.name)
        for entry in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / entry).exists():
                (site / entry).symlink_to(Path(str(found.locate_file(entry))))
        for extra in {"", *required.extras}:
            if (required.name, extra) not in seen:
                seen.add((required.name, extra))
                queue += [(further, extra) for further in map(Requirement, found.requires or ())]


def test_extras_are_documented_and_all_has_those_of_users() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert [name for name in extras if f"`{name}`" not in page] == []
    (combined,) = map(Requirement, extras["all"])
    assert combined.extras == set(extras) - {"all", "dev", "docs"}
    assert set(EXTRAS.values()) <= set(extras)
