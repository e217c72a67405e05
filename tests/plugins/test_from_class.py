"""A class given beside names: its source and what it uses become a plug-in like one of a file."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plastibench.errors import RequestError
from plastibench.plugins.from_class import plugin_name, plugin_of
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry

HEAD = """\
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn as nn
from plastibench.api import *

"""
IDEA = '''\
@dataclass(kw_only=True)
class MyIdea(Method):
    """Scale the head."""

    disabled = {}

    def result(self):
        return RESULT
'''
END = """
from plastibench.plugins.from_class import plugin_of
from plastibench.plugins.registry import Registry
plugin = plugin_of(globals().get("KIND", "method"), CLASS, Registry())
"""


def of_script(
    folder: Path, before: str = "", result: str = "1", after: str = "", cls: str = "MyIdea"
) -> Plugin:
    """Return the plug-in of a class that a script defines; `before` and `after` are its other lines."""
    text = HEAD + before + "\n\n" + IDEA.replace("RESULT", result) + after + END.replace("CLASS", cls)
    (folder / "a_script.py").write_text(text, encoding="utf-8")
    plugin: Plugin = runpy.run_path(str(folder / "a_script.py"), run_name="__main__")["plugin"]
    return plugin


def result_of(plugin: Plugin) -> Any:
    return plugin.load()().result()


def text_of(plugin: Plugin) -> str:
    assert plugin.source is not None
    return plugin.source.own_file.decode()


@pytest.mark.parametrize(
    ("before", "result", "expected"),
    [
        ("FACTOR = 2\nFACTOR = FACTOR + 1", "FACTOR", 3),
        ("RATES = {'a': (1, 2.5)}", "RATES['a'][1]", 2.5),
        ("LIMIT = float('inf')", "LIMIT > 1e300", True),
        ("LAYERS = (nn.Linear, nn.Conv2d)", "isinstance(nn.Linear(1, 1), LAYERS)", True),
        ("Tensor = torch.Tensor\ndef one() -> Tensor:\n    return torch.ones(1)", "one().item()", 1.0),
        (
            "@cache\ndef odd(n):\n    return n and even(n - 1)\ndef even(n):\n    return not n or odd(n - 1)",
            "even(4)",
            True,
        ),
        ("double = lambda x: x * 2", "double(4)", 8),
        ("@torch.no_grad()\ndef f():\n    return torch.is_grad_enabled()", "f()", False),
        ("class Table:\n    size = 4\nBoard = Table", "Board.size", 4),
        ("if True:\n    def nested():\n        return 5", "nested()", 5),
        ("for rate in (1, 2):\n    pass", "rate", 2),
        ("import math as m; from math import pi as half", "m.floor(half)", 3),
        ("from a_helper import twice", "twice(3)", 6),
    ],
)
def test_what_a_class_uses_is_taken_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, result: str, expected: Any
) -> None:
    (tmp_path / "a_helper.py").write_text("def twice(x):\n    return 2 * x\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert result_of(of_script(tmp_path, before, result)) == expected
    sys.modules.pop("a_helper", None)


def test_what_a_class_does_not_use_is_left_out(tmp_path: Path) -> None:
    plugin = of_script(tmp_path, "model = torch.randn(3)\nother = 1", "(lambda model: model)(7)")
    assert result_of(plugin) == 7
    assert "other" not in text_of(plugin)
    assert "randn" not in text_of(plugin)
    assert "nn" not in text_of(plugin)


@pytest.mark.parametrize(
    ("before", "result", "after", "message"),
    [
        ("WEIGHTS = torch.ones(3)", "WEIGHTS", "", r"MyIdea uses WEIGHTS, a Tensor that its source does not"),
        ("", "nowhere", "", "MyIdea uses nowhere, which nothing defines"),
        ("", "1", "MyIdea.result = lambda self: 2\n", "source of MyIdea is not what its cell or file says"),
        (
            "def f():\n    return 1",
            "f()",
            "g, f = f, eval('lambda: 1')\n",
            "uses f, a function that its source",
        ),
        ("", "1", "KIND = 'probe'\n", "class MyIdea is no probe: it must extend Probe"),
        (
            "",
            "1",
            "def made():\n    class Inner(MyIdea):\n        pass\n    return Inner\n",
            "inside a function",
        ),
        ("", "1", "class Dash(MyIdea):\n    pass\n", r"method dash, which is in .*dash\.py already: rename"),
        (
            "import cmath",
            "cmath",
            "class Cmath(MyIdea):\n    pass\n",
            "would be method cmath, a module that it",
        ),
        ("", "1", "exec('class Gone(MyIdea):\\n    def f(self): pass')\n", "the source of Gone is not known"),
    ],
)
def test_what_cannot_be_taken_along_is_said(
    tmp_path: Path, before: str, result: str, after: str, message: str
) -> None:
    made = {"Inner": "made()", "Dash": "Dash", "Cmath": "Cmath", "Gone": "Gone"}
    cls = next((made[name] for name in made if f"class {name}" in after), "MyIdea")
    with pytest.raises(RequestError, match=message):
        of_script(tmp_path, before, result, after, cls)


def test_a_class_and_a_file_with_the_same_code_are_the_same_plug_in(tmp_path: Path) -> None:
    plugin = of_script(tmp_path, "FACTOR = 2", "FACTOR")
    assert plugin.name == "my_idea"
    assert of_script(tmp_path, "FACTOR = 2  # a comment", "( FACTOR )").digest() == plugin.digest()
    assert of_script(tmp_path, "FACTOR = 3", "FACTOR").digest() != plugin.digest()
    (tmp_path / "my_idea.py").write_text(text_of(plugin), encoding="utf-8")
    assert Registry([tmp_path / "my_idea.py"]).get("method", "my_idea").digest() == plugin.digest()


def test_of_two_methods_the_one_that_is_named_is_the_plug_in(tmp_path: Path) -> None:
    after = "\n\n@dataclass(kw_only=True)\nclass Other(MyIdea):\n    def result(self):\n        return 5\n"
    plugin = of_script(tmp_path, after=after, cls="Other")
    assert (plugin.name, result_of(plugin)) == ("other", 5)


def test_a_shipped_class_is_itself_and_one_of_a_module_is_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry()
    assert plugin_of("method", registry.load("method", "dash"), registry) is registry.get("method", "dash")
    (tmp_path / "a_module_of_mine.py").write_text(HEAD + IDEA.replace("RESULT", "4"), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import a_module_of_mine  # type: ignore[import-not-found]

    plugin = plugin_of("method", a_module_of_mine.MyIdea, registry)
    assert (plugin.name, result_of(plugin)) == ("a_module_of_mine", 4)
    assert plugin.digest() == Registry([tmp_path / "a_module_of_mine.py"]).own[0].digest()


def test_names_are_those_of_classes_in_small_letters() -> None:
    for cls, name in {"MyIdea": "my_idea", "L2Init": "l2_init", "DASHPlus": "dash_plus", "A": "a"}.items():
        assert plugin_name(type(cls, (), {})) == name


@pytest.fixture
def shell() -> Iterator[Any]:
    """Yield IPython as a notebook has it, without a kernel."""
    from IPython.core.interactiveshell import InteractiveShell

    main, hook = sys.modules["__main__"], sys.displayhook
    shell: Any = InteractiveShell.instance()
    shell.history_manager.enabled = False
    try:
        shell.run_cell(HEAD, store_history=True)
        yield shell
    finally:
        InteractiveShell.clear_instance()
        sys.modules["__main__"], sys.displayhook = main, hook


def cell(shell: Any, text: str) -> None:
    shell.run_cell(text, store_history=True).raise_error()


def of_cells(shell: Any, cls: str = "MyIdea") -> Plugin:
    return plugin_of("method", shell.user_ns[cls], Registry())


@pytest.mark.heavy
def test_a_class_of_a_cell_has_the_values_of_other_cells(shell: Any) -> None:
    idea = IDEA.replace("RESULT", "FACTOR")
    cell(shell, "FACTOR = 1")
    cell(shell, f"%%time\n{idea}")
    first = of_cells(shell)
    cell(shell, "FACTOR = 2")
    second = of_cells(shell)
    assert (result_of(first), result_of(second)) == (1, 2)
    cell(shell, idea + "\n# executed again")
    assert of_cells(shell).digest() == second.digest() != first.digest()
    cell(shell, idea.replace("FACTOR", "FACTOR + 5"))
    assert result_of(of_cells(shell)) == 7


@pytest.mark.heavy
def test_a_class_without_functions_is_that_of_the_last_cell(shell: Any) -> None:
    cell(shell, IDEA.replace("RESULT", "self.size"))
    for size in (1, 2, 1):
        cell(shell, f"@dataclass(kw_only=True)\nclass Small(MyIdea):\n    size: int = {size}")
        assert result_of(of_cells(shell, "Small")) == size


@pytest.mark.heavy
def test_a_cell_with_annotations_as_texts_has_them(shell: Any) -> None:
    cell(shell, "from __future__ import annotations")
    cell(shell, IDEA.replace("RESULT", "1").replace("def result(self)", "def result(self) -> Later"))
    assert result_of(of_cells(shell)) == 1


@pytest.mark.heavy
def test_a_notebook_shows_one_sentence_for_a_refused_request(
    shell: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    cell(shell, "from plastibench.errors import RequestError")
    shell.run_cell("def deep(): raise RequestError('no method named wram')\ndeep()")
    assert capfd.readouterr().out.splitlines() == ["RequestError: no method named wram"]
