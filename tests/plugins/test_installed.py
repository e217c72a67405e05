"""Plug-ins of installed packages: the class that an entry point names, and all modules counted."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.commands import PLAIN, child, command, small_run
from support.plugins import HELPER, mine, write

from plastibench.analysis.report.bibliography import bibliography
from plastibench.errors import RequestError
from plastibench.plugins.registry import Registry
from plastibench.store.run_store import Store

ENTRIES = {
    "whole": "[plastibench.methods]\nfirst = lab_of_a_test.remedies:First\n"
    "second = lab_of_a_test.remedies:Second\n",
    "exported": "[plastibench.methods]\nfirst = lab_of_a_test:First\n",
    "none": "[plastibench.methods]\nfirst = lab_of_a_test.remedies\n",
    "no class": "[plastibench.methods]\nfirst = lab_of_a_test.remedies:Third\n",
    "no method": "[plastibench.methods]\nfirst = lab_of_a_test.remedies:factor\n",
}
REMEDIES = mine("from lab_of_a_test.helper import factor", hook="return factor()").replace("Mine", "First")
REMEDIES = REMEDIES.replace("0000.00000", "2401.01234")
SECOND = "\n\n@dataclass(kw_only=True)\nclass Second(First):\n    X = 1\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Return the folder of an installed package with two methods, and the file of its entry points."""
    folder, info = tmp_path / "lab_of_a_test", tmp_path / "lab_of_a_test-1.dist-info"
    write(folder, init="from .remedies import First\n", helper=HELPER, remedies=REMEDIES + SECOND)
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-of-a-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRIES["whole"])
    monkeypatch.syspath_prepend(str(tmp_path))
    yield SimpleNamespace(folder=folder, entries=info / "entry_points.txt")
    forget()


def declare(package: SimpleNamespace, entries: str) -> None:
    """Install the package again, with other entry points."""
    package.entries.write_text(ENTRIES[entries])
    os.utime(package.folder.parent)


def forget() -> None:
    """Forget that the package was imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab_of_a_test"]:
        del sys.modules[name]


def test_an_entry_point_names_its_class(package: SimpleNamespace) -> None:
    registry = Registry()
    first, second = (registry.load("method", name) for name in ("first", "second"))
    assert (first.__name__, second.__name__) == ("First", "Second")
    assert [registry.find("method", cls()).name for cls in (second, first)] == ["second", "first"]
    assert first().result() == 2
    declare(package, "exported")
    assert Registry().load("method", "first") is first
    assert Registry().find("method", first()).name == "first"


def test_papers_of_an_installed_class_are_cited(package: SimpleNamespace) -> None:
    assert "2401.01234" not in bibliography(["second"])
    assert "2401.01234" in bibliography(["first"])
    declare(package, "exported")
    assert "2401.01234" in bibliography(["first"])
    assert "lab_of_a_test.remedies" not in sys.modules


def test_a_run_outlives_the_package_of_its_method(package: SimpleNamespace, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert small_run(home, "--method", "second").status == 0
    shutil.rmtree(package.folder)
    shutil.rmtree(package.entries.parent)
    forget()
    (record,) = Store(home).records()
    answer = command("verify", record.id, "--home", home)
    assert answer.status == 0, answer.err
    assert "method second: executing the source kept in" in answer.err


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("none", r"it defines First, Second; name one .*: lab_of_a_test\.remedies:Class"),
        ("no class", "Third in lab_of_a_test.remedies is no method, a subclass of Method"),
        ("no method", "factor in lab_of_a_test.remedies is no method, a subclass of Method"),
    ],
)
def test_an_entry_point_without_a_class_is_refused(
    package: SimpleNamespace, entries: str, message: str
) -> None:
    declare(package, entries)
    with pytest.raises(RequestError, match=message):
        Registry().load("method", "first")


DIGESTS = (
    "from plastibench.plugins.registry import Registry\n"
    "print(*(Registry().get('method', name).digest() for name in ('first', 'second')))"
)


@pytest.mark.heavy
def test_all_modules_of_an_installed_package_count(
    package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(package.folder.parent), prepend=":")

    def digests() -> list[str]:
        done = child("-c", DIGESTS)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    before = digests()
    assert len(set(before)) == 2
    write(package.folder, helper=HELPER.replace("2", "3"))
    assert set(digests()).isdisjoint(before)


EDITED = """
import pathlib, sys
root = pathlib.Path(sys.argv[1]); sys.path.insert(0, str(root))
import plastibench; plastibench.__path__[1:] = [str(root)]
from plastibench.plugins.registry import Registry
from plastibench.store.run_store import Store
registry = Registry(); registry.load("method", "shown")
file = root / "methods" / "shown.py"
file.write_text(file.read_text() + "    x: int = 1\\n")
registry.get("method", "shown").digest()
"""


@pytest.mark.heavy
def test_a_shipped_file_edited_after_its_import_is_refused(tmp_path: Path) -> None:
    # A notebook would execute the old code under the new digest.
    import plastibench

    root = Path(plastibench.__file__).parents[1]
    for name in ("plastibench", "tasks"):
        (tmp_path / name).symlink_to(root / name)
    write(tmp_path / "methods", shown=PLAIN)
    done = child("-c", EDITED, str(tmp_path))
    assert "RequestError" in done.stderr
    assert "shown.py has changed since this process imported it: start a new one" in done.stderr
