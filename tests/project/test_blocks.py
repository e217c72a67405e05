"""Every code block of the documents is executed, or checked if executing it would take too long."""

from __future__ import annotations

import doctest
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.block_checks import check
from support.block_runner import PageRunner, prepare
from support.blocks import ROOT, Block, blocks, blocks_in, pages

import plastibench
from plastibench import python_api

PAGES = [page for page in pages() if blocks(page)]


def test_every_block_can_be_right() -> None:
    found = [block for page in PAGES for block in blocks(page)]
    assert len(found) >= 25
    assert sum(block.rule == "run" for block in found) >= 0.4 * len(found)
    for block in found:
        check(block)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture
def reader(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the test into a folder of a reader of the pages, with the homes that they name."""
    shutil.copytree(prepared, tmp_path, copy_function=os.link, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLASTIBENCH_HOME", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.heavy
@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(page: Path) -> None:
    runner = PageRunner()
    for block in blocks(page):
        runner.run(block)


class ShownOutput(doctest.OutputChecker):
    """Compares output where an example shows it."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["run", "resume", "table", "results", "frame"])
@pytest.mark.usefixtures("reader")
def test_the_example_of_a_function_runs(name: str) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(getattr(python_api, name), name, globs={"plastibench": plastibench})
    outcome = doctest.DocTestRunner(ShownOutput(), optionflags=doctest.ELLIPSIS).run(example)
    assert outcome.attempted > 0
    assert outcome.failed == 0


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("", "plastibench rnu", "no command rnu"),
        ("", "plastibench run --metod warm", "--metod"),
        ("", "plastibench run --task digits --method wram", "no method wram"),
        ("", "plastibench run --seeds few", "few"),
        ("", "plastibench run quikstart", "no suite quikstart"),
        ("", "platibench run", "program platibench"),
        ("", "make tests", "no make tests"),
        ("", "pip install plastibench[rai]", "no extra"),
        ("", "python docs/nothing.py", "no file docs/nothing.py"),
        ("", "python docs/packages.py --chek", "--chek"),
        ("python", "import plastibench\nplastibench.run(metods='warm')", "metods"),
        ("python", "from plastibench.api import Lerner", "Lerner"),
        ("python", "if True\n    pass", "expected ':'"),
        ("toml", "task =", "Invalid value"),
        ("cobol", "DISPLAY 'x'", "cobol"),
    ],
)
def test_a_block_that_is_wrong_is_found(language: str, text: str, reason: str) -> None:
    (block,) = blocks_in(f"```{language}\n{text}\n```\n", ROOT / "README.md")
    with pytest.raises(AssertionError, match=rf"README.md:1: .*{reason}"):
        check(block)


def test_a_block_that_fails_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "```python\nx = 1\n```\n\n```python\nassert x == 2, x\n```\n\n```\nplastibench list nothing\n```\n"
    first, second, third = blocks_in(text, ROOT / "README.md")
    runner = PageRunner()
    runner.run(first)
    with pytest.raises(AssertionError, match="1"):
        runner.run(second)
    with pytest.raises(AssertionError, match="nothing"):
        runner.run(third)


def test_the_comment_above_a_block_decides_what_is_done() -> None:
    text = (
        "<!-- run: parse -->\n```python\nx\n```\n\n"
        "<!-- run: file a.py -->\n```python\ny\n```\n\n```text\nz\n```\n"
    )
    first, second = blocks_in(text, ROOT / "README.md")
    assert (first.rule, second.rule, second.file) == ("parse", "file", "a.py")


def test_prompts_comments_and_output_are_no_commands() -> None:
    text = "```console\n$ plastibench list \\\n    tasks   # all of them\ntasks:\n  digits\n```\n"
    (block,) = blocks_in(text, ROOT / "README.md")
    assert [" ".join(line.split()) for line in block.commands()] == ["plastibench list tasks"]
    assert isinstance(block, Block)
