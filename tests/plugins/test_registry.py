"""Plug-ins are found by their file names, read without being imported, and known by what their code does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import PLAIN, child, plugin

import plastibench
from plastibench.errors import RequestError
from plastibench.plugins.code_hash import digest
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry
from plastibench.workflows.list import list_plugins


def test_every_plugin_shipped_has_one_class_and_a_summary(registry: Registry) -> None:
    for kind in ("method", "task", "model"):
        assert registry.names(kind)
        for name in registry.names(kind):
            assert registry.load(kind, name).__module__ == registry.get(kind, name).module
            assert len(registry.get(kind, name).summary()) > 10


def test_files_that_plugins_share_are_no_plugins(registry: Registry) -> None:
    folder = Path(plastibench.__file__).parent / "models"
    shared = {path.stem for path in folder.rglob("*.py")} - set(registry.names("model"))
    assert {"basic_block", "conv3x3", "__init__"} <= shared


def test_nothing_is_imported_under_a_general_name(registry: Registry) -> None:
    for kind in ("method", "task"):
        for name in registry.names(kind):
            registry.load(kind, name)
    assert not {"methods", "tasks"} & {name.partition(".")[0] for name in sys.modules}


def test_plugin_file_is_found_by_its_own_name(tmp_path: Path) -> None:
    registry = Registry((plugin(tmp_path, "mine"),))
    assert "mine" in registry.names("method")
    assert registry.load("method", "mine").__name__ == "Mine"
    assert list_plugins(registry, "methods")["methods"]["mine"] == "A method of a test."


def test_edited_plugin_is_loaded_anew(tmp_path: Path) -> None:
    assert Registry((plugin(tmp_path, "mine", "x: int = 1"),)).load("method", "mine")().x == 1
    assert Registry((plugin(tmp_path, "mine", "x: int = 22"),)).load("method", "mine")().x == 22


def test_broken_file_in_the_folder_of_methods_harms_itself_only(tmp_path: Path) -> None:
    # In a copy of the checkout: the folder itself is not a test's to write to.
    root = Path(plastibench.__file__).parents[1]
    for name in ("plastibench", "tasks"):
        (tmp_path / name).symlink_to(root / name)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import plastibench\n"
        f"plastibench.__path__[1:] = [{str(tmp_path)!r}]\n"
        "from plastibench.plugins.registry import Registry\n"
        "from plastibench.workflows.list import describe_plugin, list_plugins\n"
        "print(list_plugins(Registry(), 'methods')['methods'])\n"
        "try: describe_plugin(Registry(), 'broken')\n"
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


@given(st.text(alphabet="ab\u00e9 '\"\n#", max_size=30))
def test_text_in_code_counts_whatever_it_is(text: str) -> None:
    assert digest(f"x = {text!r}") == digest(f"x = ({text!r})  # {text.splitlines()[:1]}")
    assert digest(f"x = {text!r}") != digest(f"x = {text + '.'!r}")


def test_code_of_an_installed_plugin_counts_too(registry: Registry) -> None:
    known = registry.get("method", "warm")
    assert Plugin("method", "warm", known.module, None).digest() == known.digest() != ""
