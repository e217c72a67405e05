"""The digest of a plug-in changes with what its code does, and with nothing else."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import PLAIN, plugin

from plastibench.errors import RequestError
from plastibench.plugins.code_hash import digest
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry

SOURCE = '''"""Says."""
# a remark
def f(a, *, b=None):
    """Also says."""
    if a:
        return [a, "x", 1.0]
    return f"{a!r:>3} and {b}"
'''


def test_comments_docstrings_and_layout_do_not_count() -> None:
    other = (
        "def f(a, *, b=None):\n  if (a):\n    return [a,\n      'x', 1.0,]\n  return f'{a!r:>3} and {b}'\n"
    )
    assert digest(SOURCE) == digest(other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.0", "1"),
        ("1.0", "1.5"),
        ("b=None", "b=0"),
        ("!r", "!s"),
        (">3", "<3"),
        ("if a", "if not a"),
        ("*, ", ""),
    ],
)
def test_whatever_changes_what_code_does_counts(old: str, new: str) -> None:
    assert digest(SOURCE) != digest(SOURCE.replace(old, new))


def test_digest_does_not_depend_on_the_version_of_python() -> None:
    # Newer versions add fields (type_params in 3.12), and print f-strings differently.
    assert digest(SOURCE) == "0b38838bd04430f4"


def test_imports_do_not_count_but_what_an_alias_stands_for_does() -> None:
    body = "def f(x):\n    return F.relu(zeros(x))\n"
    one = "import torch.nn.functional as F\nfrom torch import zeros\n" + body
    moved = (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        "import torch.nn.functional as functional\nfrom elsewhere import zeros as zero\n"
        "if TYPE_CHECKING:\n    from torch import Tensor\n"
    ) + body.replace("F.", "functional.").replace("zeros", "zero")
    assert digest(one) == digest(moved)
    other = one.replace("import zeros", "import ones as zeros")
    assert digest(one) != digest(other)


def test_digest_of_a_file_is_computed_again_when_the_file_changes(tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine")
    before = Plugin("method", "mine", "mine", file).digest()
    plugin(tmp_path, "mine", "x: int = 1")
    assert Plugin("method", "mine", "mine", file).digest() != before


ENCODED = PLAIN.replace("Do nothing", "Do nothing \u00e9") + "    NAME = '\u00e9'\n"


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + ENCODED.encode(),
        ENCODED.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF8 + ENCODED.replace("\n", "\r\n").encode(),
        b"# -*- coding: latin-1 -*-\n" + ENCODED.encode("latin-1"),
    ],
    ids=["BOM", "CRLF", "BOM and CRLF", "coding cookie"],
)
def test_a_file_is_read_as_python_reads_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.py").write_bytes(content)
    registry = Registry((tmp_path / "mine.py",))
    assert registry.load("method", "mine").NAME == "\u00e9"
    assert registry.get("method", "mine").summary() == "A method of a test."
    other = plugin(tmp_path, "other", "NAME = '\u00e9'", PLAIN)
    assert registry.get("method", "mine").digest() == Registry((other,)).get("method", "other").digest()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"x = 1\ndef f(:\n", 2),
        (b"x = 1\ny = '\xe9'\n", 2),
        (b"x = 1\n\n# \xe9\n", 3),
        (b"x = 1\n\ny = 2\0\n", 3),
        ("x = 1\n".encode("utf-16"), 1),
        (b"# coding: klingon\n", 1),
    ],
    ids=["syntax", "not UTF-8", "comment", "null byte", "UTF-16", "unknown encoding"],
)
def test_a_file_that_python_cannot_read_is_named_with_the_line(
    tmp_path: Path, content: bytes, line: int
) -> None:
    (tmp_path / "mine.py").write_bytes(content)
    with pytest.raises(RequestError, match=rf"mine\.py, line {line}\)"):
        Registry((tmp_path / "mine.py",))


@given(st.text(alphabet="ab\u00e9 '\"\n#", max_size=30))
def test_text_in_code_counts_whatever_it_is(text: str) -> None:
    assert digest(f"x = {text!r}") == digest(f"x = ({text!r})  # {text.splitlines()[:1]}")
    assert digest(f"x = {text!r}") != digest(f"x = {text + '.'!r}")
