"""A plug-in is all its modules: they are found, counted in its digest, and its own alone."""

from __future__ import annotations

import importlib
import statistics
import sys
from pathlib import Path

import pytest
from support.commands import small_run
from support.plugins import HELPER, loaded, mine, write

import plastibench
from plastibench.errors import RequestError
from plastibench.plugins.code_hash import digest
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry
from plastibench.plugins.source import Source

IMPORTS = {
    "module": (["import helper"], "return helper.factor()"),
    "alias": (["import helper as h"], "return h.factor()"),
    "name": (["from helper import factor"], "return factor()"),
    "star": (["from helper import *"], "return factor()"),
    "late": ([], "import helper; return helper.factor()"),
    "late name": ([], "from helper import factor as f; return f()"),
    "relative": (["from .helper import factor"], "return factor()"),
    "relative module": (["from . import helper"], "return helper.factor()"),
    "import_module": (["import importlib"], "return importlib.import_module('helper').factor()"),
    "computed": (["from importlib import import_module"], "return import_module('hel' + 'per').factor()"),
    "try": (["try:\n    import helper\nexcept ImportError:\n    helper = None"], "return helper.factor()"),
    "with another": (["import os, helper, torch.nn as nn"], "return helper.factor()"),
}


@pytest.mark.parametrize("how", IMPORTS)
def test_a_helper_beside_the_file_is_found_and_counted(tmp_path: Path, how: str) -> None:
    lines, hook = IMPORTS[how]
    write(tmp_path, mine=mine(*lines, hook=hook), helper=HELPER)
    method, plugin = loaded(tmp_path / "mine.py")
    assert method.result() == 2
    write(tmp_path, helper=HELPER.replace("2", "3"))
    changed, other = loaded(tmp_path / "mine.py")
    assert (changed.result(), method.result()) == (3, 2)
    assert other.digest() != plugin.digest()
    write(tmp_path, helper=f"# a remark\n{HELPER}")
    assert loaded(tmp_path / "mine.py")[1].digest() == plugin.digest()


def test_helpers_of_helpers_and_their_packages_count(tmp_path: Path) -> None:
    write(tmp_path, mine=mine(hook="import tools.deep.numbers as n; return n.TWO"))
    write(tmp_path / "tools", init="", other="TWO = 2\n", unused="x = 1\n")
    write(tmp_path / "tools" / "deep", init="from tools.other import TWO\n", numbers="from . import TWO\n")
    method, plugin = loaded(tmp_path / "mine.py")
    assert method.result() == 2
    source = plugin.own_source()
    assert source is not None
    assert set(source.files) == {
        "mine.py",
        *(f"tools/{name}.py" for name in ("__init__", "other", "deep/__init__", "deep/numbers")),
    }


def test_which_helper_a_name_comes_from_counts(tmp_path: Path) -> None:
    write(tmp_path, one="def f():\n    return 1\n", two="def f():\n    return 2\n")
    lines = "import one, two", "from one import f"
    write(tmp_path, mine=mine(*lines, hook="return f()"))
    first, plugin = loaded(tmp_path / "mine.py")
    write(tmp_path, mine=mine(lines[0], "from two import f", hook="return f()"))
    second, other = loaded(tmp_path / "mine.py")
    assert (first.result(), second.result()) == (1, 2)
    assert plugin.digest() != other.digest()


def test_a_file_without_helpers_has_the_digest_of_its_code(tmp_path: Path) -> None:
    write(tmp_path, mine=mine("import torch, statistics", hook="return 1"), helper=HELPER)
    alone = loaded(tmp_path / "mine.py")[1].digest()
    assert alone == digest((tmp_path / "mine.py").read_text())
    write(tmp_path, helper="changed = True\n")
    assert loaded(tmp_path / "mine.py")[1].digest() == alone


def test_a_helper_that_is_executed_by_its_path_counts(tmp_path: Path) -> None:
    hook = "return runpy.run_path(pathlib.Path(__file__).with_name('helper.py'))['factor']()"
    write(tmp_path, mine=mine("import runpy, pathlib", hook=hook), helper=HELPER)
    method, plugin = loaded(tmp_path / "mine.py")
    assert method.result() == 2
    write(tmp_path, helper=HELPER.replace("2", "3"))
    assert loaded(tmp_path / "mine.py")[1].digest() != plugin.digest()


def test_imports_for_type_checkers_do_not_count(tmp_path: Path) -> None:
    lines = "from typing import TYPE_CHECKING", "if TYPE_CHECKING:\n    from helper import factor"
    write(tmp_path, mine=mine(*lines, hook="return 1"), helper=HELPER)
    source = loaded(tmp_path / "mine.py")[1].own_source()
    assert source is not None
    assert list(source.files) == ["mine.py"]


def test_a_file_inside_a_package_imports_relatively(tmp_path: Path) -> None:
    package = tmp_path / "lab" / "remedies"
    write(tmp_path / "lab", init="SCALE = 3\n", helper=HELPER)
    write(package, init="", near="ONE = 1\n")
    lines = "from lab import SCALE", "from ..helper import factor", "from .near import ONE"
    write(package, mine=mine(*lines, hook="return SCALE + factor() + ONE"))
    method, plugin = loaded(package / "mine.py")
    assert method.result() == 6
    write(tmp_path / "lab", init="SCALE = 4\n")
    changed, other = loaded(package / "mine.py")
    assert changed.result() == 7
    assert plugin.digest() != other.digest()


def test_two_plugins_have_helpers_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path / "a", one=mine(), helper=HELPER)
    write(tmp_path / "b", two=mine(), helper=HELPER.replace("2", "5"))
    registry = Registry((tmp_path / "a" / "one.py", tmp_path / "b" / "two.py"))
    one, two = registry.load("method", "one")(), registry.load("method", "two")()
    assert (one.result(), two.result(), one.result()) == (2, 5, 2)
    assert "helper" not in sys.modules


def test_a_helper_named_like_a_standard_module_is_the_plugins_alone(tmp_path: Path) -> None:
    lines = "import statistics", "from torch_geometric import factor"
    write(tmp_path, mine=mine(*lines, hook="return factor() + statistics.own()"))
    write(tmp_path, statistics="def own():\n    return 10\n", torch_geometric=HELPER)
    assert loaded(tmp_path / "mine.py")[0].result() == 12
    assert sys.modules["statistics"] is statistics
    assert statistics.mean([1, 3]) == 2
    assert "torch_geometric" not in sys.modules


def test_a_folder_of_data_does_not_hide_an_installed_module(tmp_path: Path) -> None:
    write(tmp_path / "numpy", readme="a = 1\n")
    write(tmp_path, mine=mine("import numpy", hook="return int(numpy.ones(3).sum())"))
    assert loaded(tmp_path / "mine.py")[0].result() == 3


def test_the_file_that_is_named_is_the_one_that_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, mine=mine(hook="return 1"))
    write(tmp_path / "other", init=mine(hook="from .near import factor; return factor()"), near=HELPER)
    method, plugin = loaded(tmp_path / "other" / "__init__.py", "other")
    assert (method.result(), plugin.name) == (2, "other")
    (tmp_path / "mine.txt").write_text("x = 1\n")
    with pytest.raises(RequestError, match=r"mine\.txt is not what Python imports as mine: rename it"):
        Registry((tmp_path / "mine.txt",))
    write(tmp_path / "mine", init=mine(hook="return 2"))
    with pytest.raises(RequestError, match=r"mine\.py is not what Python imports as mine: rename it"):
        Registry((tmp_path / "mine.py",))


def test_an_error_in_a_helper_names_its_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, mine=mine("import helper"), helper="x = 1\ny = x.nothing\n")
    with pytest.raises(RequestError, match=r"no attribute 'nothing' \(helper\.py, line 2\)"):
        Registry((tmp_path / "mine.py",))
    write(tmp_path, helper="x = 1\ndef f(:\n")
    with pytest.raises(RequestError, match=r"SyntaxError: invalid syntax \(helper\.py, line 2\)"):
        Registry((tmp_path / "mine.py",))
    write(tmp_path, mine=mine("import nowhere_to_be_found"))
    with pytest.raises(RequestError, match=r"No module named 'nowhere_to_be_found' \(mine\.py"):
        Registry((tmp_path / "mine.py",))


def test_an_import_that_the_digest_cannot_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "remedies_of_a_test"
    write(folder, mine=mine("from remedies_of_a_test.helper import factor", hook="return 1"), helper=HELPER)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RequestError, match=r"as remedies_of_a_test\.helper, .* write \"import helper\""):
        Registry((folder / "mine.py",))


@pytest.mark.parametrize("call", ["__import__('hidden')", "im('hidden')", "il.import_module('hidden')"])
def test_a_late_import_that_the_digest_cannot_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    lines = "import importlib as il", "from importlib import import_module as im"
    write(tmp_path, mine=mine(*lines, hook=f"return {call}.factor()"))
    write(tmp_path / "lib", hidden=HELPER)
    method, _ = loaded(tmp_path / "mine.py")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    with pytest.raises(
        RequestError, match=r"imports .*hidden\.py as hidden, .* write \"import lib\.hidden\""
    ):
        method.result()
    write(tmp_path / "lib", of_the_test="ONE = 1\n")
    assert importlib.import_module("of_the_test").ONE == 1  # not imported by a plug-in
    del sys.modules["of_the_test"]


def test_a_file_beside_the_package_in_a_checkout_is_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(plastibench.__file__).parents[1]
    # As the first import of multiprocessing does in a program that `python -m plastibench` began.
    monkeypatch.setitem(sys.modules, "__mp_main__", sys)  # so that it is put back
    monkeypatch.delitem(sys.modules, "__mp_main__")
    lines = (
        "import sys, types",
        "main = types.ModuleType('__mp_main__')",
        f"main.__file__ = {str(root / 'plastibench' / '__main__.py')!r}",
        "sys.modules['__mp_main__'] = main",
    )
    source = Source("mine", {"mine.py": mine(*lines, hook="return 1").encode()}, root)
    assert Plugin("method", "mine", source=source).load()().result() == 1


def test_a_helper_is_found_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = "def before_stage(self, learner):\n        import helper; assert helper.factor() == 2"
    write(tmp_path / "plug", mine=f"{mine()}\n    {hook}\n", helper=HELPER)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    words = ["--plugin", Path("..") / "plug" / "mine.py", "--method", "mine"]
    answer = small_run(tmp_path / "home", *words)
    assert answer.status == 0, answer.err


def test_the_digest_of_a_method_that_extends_a_shipped_one_covers_both(tmp_path: Path) -> None:
    extended = (
        "from dataclasses import dataclass\n"
        "from plastibench.methods.{base}\n\n\n"
        "@dataclass(kw_only=True)\n"
        'class Mine(Base):\n    """Extends a shipped method (arXiv 0000.00000)."""\n'
    )
    digests = {}
    for name, base in {"a": "dash import Dash as Base", "b": "shrink import Shrink as Base"}.items():
        (tmp_path / f"{name}.py").write_text(extended.format(base=base), encoding="utf-8")
        digests[name] = Registry([tmp_path / f"{name}.py"]).get("method", name).digest()
    # The digest of code alone leaves imports out, so what differs is the code that is extended.
    own = {digest(extended.format(base=base)) for base in ("dash import Dash as Base",)}
    assert len({*digests.values(), *own}) == 3


def test_the_digest_of_a_shipped_method_is_that_of_its_file() -> None:
    plugin = Registry().get("method", "dash")
    assert plugin.path is not None
    assert plugin.digest() == digest(plugin.path.read_text(encoding="utf-8"))
