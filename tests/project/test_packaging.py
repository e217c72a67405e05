"""The wheel holds this package alone, and runs where there is no checkout."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from support.commands import SMALL
from support.tasks import small_digits

import plastibench
from plastibench.plugins.registry import Registry

pytestmark = pytest.mark.heavy

ROOT = Path(plastibench.__file__).parents[1]


def test_every_package_of_the_tree_is_in_the_list_of_packages() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        folder.relative_to(ROOT).as_posix().replace("/", ".")
        for top in ("plastibench", "methods", "tasks")
        for folder in (path.parent for path in (ROOT / top).rglob("__init__.py"))
    }
    found = {f"plastibench.{name}" if name in ("methods", "tasks") else name for name in folders}
    assert set(tool["packages"]) == found


def test_wheel_has_every_method_and_runs_where_there_is_no_checkout(
    registry: Registry, tmp_path: Path
) -> None:
    wheel = _wheel(tmp_path)
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert top == {"plastibench", f"plastibench-{plastibench.__version__}.dist-info"}
    program = _installed(wheel, tmp_path / "a venv")
    empty = tmp_path / "empty"
    empty.mkdir()

    def answer(*words: object) -> str:
        done = subprocess.run(
            [program, *map(str, words)],
            cwd=empty,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(answer("list", "--json"))
    assert list(listed["methods"]) == registry.names("method")
    assert list(listed["tasks"]) == registry.names("task")
    assert list(listed["models"]) == registry.names("model")
    assert "quickstart" in listed["suites"]
    words = ["--no-mlflow", "--home", tmp_path / "home", "--seeds", 1, "--jobs", 1, *SMALL]
    answer("run", "--method", "dash,warm", *words)
    records = [json.loads(path.read_text()) for path in (tmp_path / "home").rglob("run.json")]
    assert sorted(record["spec"]["method"]["name"] for record in records) == ["dash", "warm"]
    every = [
        "--home",
        tmp_path / "home",
        "--method",
        ",".join(registry.names("method")),
        "--seeds",
        1,
        *SMALL,
    ]
    states = {
        run["name"].split()[2]: run["state"] for run in json.loads(answer("status", "--json", *every))["runs"]
    }
    digits = small_digits(registry)
    names = [n for n in registry.names("method") if registry.load("method", n)().unsupported(digits) is None]
    loaded = dict.fromkeys(names, "queued") | {"dash": "done", "warm": "done"}
    assert states == loaded, "each class is loaded to describe its run"
    assert {record["provenance"]["commit"] for record in records} == {None}, "this was the checkout"
    assert list(empty.iterdir()) == []


def _wheel(folder: Path) -> Path:
    """Build from a copy: a build leaves folders beside the sources."""
    copy = folder / "source"
    copy.mkdir()
    for name in ("plastibench", "methods", "tasks", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            subprocess.run(["cp", "-r", ROOT / name, copy / name], check=True)
    (copy / "README.md").touch()
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", copy]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    assert wheel.name.startswith(f"plastibench-{plastibench.__version__}-")
    return wheel


def _installed(wheel: Path, folder: Path) -> Path:
    """Install the wheel into a fresh environment that sees this one's packages; nothing is downloaded."""
    venv.create(folder, with_pip=False)
    (here,) = folder.glob("lib/python*/site-packages")
    words = ["install", "--no-deps", "--no-index", "--disable-pip-version-check", "--prefix", folder, wheel]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, words), "--ignore-installed"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # A plain path in a .pth file: .pth files that lie there, an editable install's say, are not read.
    (here / "others.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
    program = folder / "bin" / "run-it"
    program.write_text(
        f"#!/bin/sh\nexec '{folder}/bin/python' -c 'from plastibench.cli.main import main; main()' \"$@\"\n"
    )
    program.chmod(0o755)
    return program


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "OMP_NUM_THREADS": "1"}


def test_version_is_that_of_the_installed_package() -> None:
    assert version("plastibench") == plastibench.__version__
