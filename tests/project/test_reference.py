"""The reference names everything that there is: generated from the code, or compared with it."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.blocks import ROOT
from support.commands import small_run

import plastibench
from plastibench import api
from plastibench.analysis.dataframe import to_dataframe
from plastibench.cli.main import cli
from plastibench.plugins import plugin
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.fields import setting_names
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.store.record import PROVENANCE_TYPES
from plastibench.store.run_store import Store
from plastibench.testing import laws

REFERENCE = ROOT / "docs/reference"


@pytest.fixture(autouse=True)
def _generators(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield
    for name in [name for name in sys.modules if name == "pages" or name.partition(".")[0] == "reference"]:
        del sys.modules[name]


def page(name: str) -> str:
    """Return a page of the reference as the site has it."""
    text = (REFERENCE / f"{name}.md").read_text(encoding="utf-8")
    filled: str = importlib.import_module("pages").filled(text)
    return filled


def test_every_command_and_option_has_its_line() -> None:
    text = page("commands")
    for name, command in cli.commands.items():
        section = re.split(r"^## ", text.partition(f"## {name}\n")[2], flags=re.MULTILINE)[0]
        options = [option for param in command.params for option in param.opts if option.startswith("--")]
        assert [option for option in options if option not in section] == [], name


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["task", "model", "regime", "probe"])
def test_every_plug_in_has_a_section_with_its_settings(registry: Registry, kind: str) -> None:
    sections = re.findall(r"^## (\w+)$", page(f"{kind}s"), re.MULTILINE)
    assert sections == registry.names(kind)


def test_every_setting_has_a_meaning(registry: Registry) -> None:
    docs = importlib.import_module("pages").attribute_docs
    shipped = [registry.load(kind, name) for kind in plugin.KINDS for name in registry.names(kind)]
    for cls in (Recipe, ClassificationTask, Method, *shipped):
        assert [name for name in setting_names(cls) if not docs(cls).get(name)] == [], cls.__name__


def test_every_column_has_a_meaning() -> None:
    assert page("columns").count("| `paper_") == 4


@pytest.mark.parametrize(
    ("name", "names"),
    [("api", api.__all__), ("python", [name for name in plastibench.__all__ if name != "__version__"])],
)
def test_every_public_name_is_documented(name: str, names: list[str]) -> None:
    shown = re.findall(
        r"^\.\. (?:auto\w+|data):: (\w+)$", (REFERENCE / f"{name}.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(shown) == sorted(names)
    module = api if name == "api" else plastibench
    values = {name: getattr(module, name) for name in names}
    assert [
        name
        for name, value in values.items()
        if (inspect.isroutine(value) or isinstance(value, type)) and not inspect.getdoc(value)
    ] == []


def test_every_law_says_what_it_is() -> None:
    functions = [value for value in vars(laws).values() if getattr(value, "__module__", "") == laws.__name__]
    assert len(functions) >= 10
    assert [each.__name__ for each in functions if not each.__doc__] == []


def test_every_environment_variable_is_documented() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "plastibench").rglob("*.py"))
    names = set(re.findall(r"\"(PLASTIBENCH_[A-Z_]+)\"", code))
    text = page("environment")
    assert len(names) >= 6
    assert sorted(name for name in names if f"`{name}`" not in text) == []


@pytest.mark.heavy
def test_every_file_of_a_run_and_every_field_is_documented(tmp_path: Path) -> None:
    small_run(tmp_path, "--task", "digits", "--method", "warm", "--probe", "weight_norm")
    text = page("files")
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"run.json", "spec.json"} <= files
    assert sorted(name for name in files if f"`{name}`" not in text) == []
    (record,) = Store(tmp_path).records()
    fields = {*record.provenance, *PROVENANCE_TYPES}
    assert sorted(name for name in fields if f"`{name}`" not in text) == []
    costs = [
        name
        for name in record.stages[0]
        if not re.match(r"(train|remedy|evaluation|probe|weight_norm)[_.]", name)
    ]
    assert sorted(name for name in costs if f"`{name}`" not in text) == []
    columns = set(to_dataframe([record]).columns) - set(record.stages[0])
    text = page("columns")
    assert sorted(name for name in columns if "." not in name and f"`{name}`" not in text) == []
