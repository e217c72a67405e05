"""Plug-ins are found by their file names and listed without being imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.commands import PLAIN, child, plugin

import plastibench
from plastibench.errors import RequestError
from plastibench.plugins.plugin import KINDS
from plastibench.plugins.registry import Registry
from plastibench.workflows.list import list_plugins


def test_every_plugin_shipped_has_one_class_and_a_summary(registry: Registry) -> None:
    for kind in KINDS:
        assert registry.names(kind)
        for name in registry.names(kind):
            assert registry.load(kind, name).__module__ == registry.get(kind, name).module
            assert len(registry.get(kind, name).summary()) > 10


def test_files_that_plugins_share_are_not_plugins(registry: Registry) -> None:
    folder = Path(plastibench.__file__).parent / "models"
    shared = {path.stem for path in folder.rglob("*.py")} - set(registry.names("model"))
    assert {"basic_block", "conv3x3", "__init__"} <= shared


def test_plugins_are_imported_only_inside_the_package(registry: Registry) -> None:
    for kind in ("method", "task"):
        for name in registry.names(kind):
            registry.load(kind, name)
    assert not {"methods", "tasks"} & {name.partition(".")[0] for name in sys.modules}


def test_plugin_file_is_found_by_its_own_name(tmp_path: Path) -> None:
    registry = Registry((plugin(tmp_path, "mine"),))
    assert "mine" in registry.names("method")
    assert registry.load("method", "mine").__name__ == "Mine"
    assert list_plugins(registry, "methods")["methods"]["mine"] == "A method of a test."


def test_edited_plugin_is_loaded_again(tmp_path: Path) -> None:
    assert Registry((plugin(tmp_path, "mine", "X = 1"),)).load("method", "mine").X == 1
    assert Registry((plugin(tmp_path, "mine", "X = 22"),)).load("method", "mine").X == 22


def test_broken_file_in_the_folder_of_methods_leaves_the_others_usable(tmp_path: Path) -> None:
    # In a copy of the checkout: the folder itself is not a test's to write to.
    root = Path(plastibench.__file__).parents[1]
    for name in ("plastibench", "tasks"):
        (tmp_path / name).symlink_to(root / name)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import plastibench\n"
        f"plastibench.__path__[1:] = [{str(tmp_path)!r}]\n"
        "from plastibench.plugins.registry import Registry\n"
        "from plastibench.workflows.list import describe, list_plugins\n"
        "print(list_plugins(Registry(), 'methods')['methods'])\n"
        "try: describe(Registry(), 'broken')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "broken.py").write_text("def f(:\n")
    (tmp_path / "methods" / "bare.py").write_text(PLAIN.replace("@dataclass(kw_only=True)", ""))
    (tmp_path / "methods" / "shared.py").write_text("class Helper: pass\n")
    done = child("-c", script)
    assert "'broken': '(cannot be loaded: SyntaxError" in done.stdout, done.stderr
    assert "'bare': 'A method of a test.'" in done.stdout
    assert "shared" not in done.stdout
    assert "RequestError plug-in file" in done.stdout


def test_task_that_lacks_a_part_of_the_contract_is_named(tmp_path: Path) -> None:
    source = PLAIN.replace("Learner, Method", "Task").replace("Mine(Method)", "Mine(Task)")
    file = plugin(tmp_path, "mine", source=source.replace("kw_only=True", "kw_only=True, frozen=True"))
    with pytest.raises(RequestError, match=r"Mine in .* lacks model, num_stages, recipes, stream"):
        Registry((file,))


ENTRY_POINTS = """
[plastibench.regimes]
newest_two = somebodys_package.newest_two
"""
NEWEST_TWO = '''"""The two newest chunks."""
from dataclasses import dataclass
from plastibench.api import Regime


@dataclass(frozen=True, kw_only=True)
class NewestTwo(Regime):
    """Keep two chunks."""

    def window_size(self, chunks, scale):
        return sum(chunks[-2:])
'''


def test_plugin_of_an_installed_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, info = tmp_path / "somebodys_package", tmp_path / "somebodys_package-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("")
    (package / "newest_two.py").write_text(NEWEST_TWO)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry()
    regime = registry.load("regime", "newest_two")()
    assert [window.chunks for window in regime.windows([1, 2, 3])] == [(1,), (1, 2), (2, 3)]
    assert registry.find("regime", regime).name == "newest_two"
    assert len(registry.get("regime", "newest_two").digest()) == 16
