"""What the documents say is true: names, files, examples."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from support.commands import child
from support.house_rules import imports_only_allowed_modules
from support.tasks import small_digits

from plastibench.cli.main import cli
from plastibench.experiments import suites
from plastibench.plugins.fields import own_choices, setting_names
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.testing import laws
from plastibench.testing.run_trace import trace_run

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/tutorials").glob("*.md")),
    ROOT / "results/README.md",
]


def examples(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("kind", ["method", "task", "model", "probe"])
def test_every_plug_in_has_its_line(registry: Registry, kind: str) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert [name for name in registry.names(kind) if f"`{name}`" not in text] == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_files_and_functions_that_pages_name_exist() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    paths = re.findall(r"`([\w/]+/\w+\.(?:py|toml|json|md))`", text)
    files = {path for path in paths if "NAME" not in path}
    names = set(re.findall(r"`(plastibench(?:\.\w+)+)", text))
    assert len(files) >= 20
    assert len(names) >= 3
    folders = (ROOT, ROOT / "plastibench", ROOT / "plastibench" / "experiments")
    assert [name for name in files if not any((folder / name).exists() for folder in folders)] == []
    for name in names:
        pkgutil.resolve_name(name)


@pytest.mark.heavy
@pytest.mark.parametrize("page", ["README.md", "docs/methods.md"])
def test_the_method_to_copy_keeps_the_laws(page: str, tmp_path: Path) -> None:
    source = next(text for text in examples(ROOT / page, "python") if "class MyIdea" in text)
    (tmp_path / "my_idea.py").write_text(source, encoding="utf-8")
    registry = Registry((tmp_path / "my_idea.py",))
    kind = registry.load("method", "my_idea")
    task = small_digits(registry)
    laws.is_well_formed(kind)
    imports_only_allowed_modules(tmp_path / "my_idea.py")
    laws.disabled_method_equals_warm_start(task, kind)
    laws.active_method_differs_from_warm_start(task, kind)
    laws.first_stage_equals_warm_start(task, kind)


@pytest.mark.heavy
def test_the_method_to_copy_that_recycles_units_keeps_the_laws(tmp_path: Path) -> None:
    source = next(text for text in examples(ROOT / "docs/methods.md", "python") if "LeastActive" in text)
    (tmp_path / "least_active.py").write_text(source, encoding="utf-8")
    kind, task = (
        Registry((tmp_path / "least_active.py",)).load("method", "least_active"),
        small_digits(Registry()),
    )
    imports_only_allowed_modules(tmp_path / "least_active.py")
    laws.active_method_differs_from_warm_start(task, kind)
    laws.first_stage_equals_warm_start(task, kind)
    laws.counted_cost_equals_real_cost(task, kind, num_classes=10)
    laws.interruption_changes_nothing(task, kind, every=2)
    assert [row.get("log.units_recycled") for row in trace_run(task, kind()).rows()] == [None, 3.0, 3.0]


@pytest.mark.heavy
@pytest.mark.parametrize("name", suites.names())
def test_every_suite_makes_runs(registry: Registry, name: str) -> None:
    suite = suites.load(name)
    specs = [spec for grid in suite.grids for spec in grid.specs(registry)]
    assert len(specs) == len({spec.id for spec in specs})
    assert suite.baseline in {spec.method.name for spec in specs}
    assert suite.summary


MAY_NAME_TASKS = {
    "data": "readers of published data sets",
    "api.py": "the list of what a plug-in may import, those readers among it",
}

NAMES_OPTIMIZERS = (
    "plugins/recipe.py",
    "training/optimizers.py",
    "training/optimizer_checks.py",
    "training/optimized_model.py",
    "training/step.py",
)
"""Where the recipe's optimizers are named, one of which a method may be named after."""


def plugins_named_in(core: Path, names: Iterable[str]) -> list[str]:
    """Return the files of a package that name a plug-in: in a string (docstrings excepted) or an import."""
    others = set(names) - set(setting_names(Recipe))  # a method may be named after the setting it changes
    pattern = re.compile(rf"\b({'|'.join(others)})\b")
    optimizers = own_choices(Recipe)["optimizer"]
    return [
        f"{path.relative_to(core)}:{line} {word}"
        for path in sorted(core.rglob("*.py"))
        if path.relative_to(core).parts[0] not in MAY_NAME_TASKS
        for line, text in strings_and_imports(ast.parse(path.read_text(encoding="utf-8")))
        for word in pattern.findall(text)
        if word not in optimizers or path.relative_to(core).as_posix() not in NAMES_OPTIMIZERS
    ]


def strings_and_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each string and import in a file."""
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    docstrings = {id(node.value) for node in statements}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


@pytest.mark.heavy
def test_the_core_names_no_method_or_task(registry: Registry) -> None:
    # `table` is a command as well, and a word that the core cannot do without.
    names = {*registry.names("method"), *registry.names("task")} - cli.commands.keys()
    assert plugins_named_in(ROOT / "plastibench", names) == []


@pytest.mark.parametrize(
    "code",
    [
        'method == "warm"',
        "import plastibench.methods.warm",
        "def f():\n    from plastibench.methods import warm",
    ],
)
def test_a_core_that_names_a_method_is_found(tmp_path: Path, code: str) -> None:
    path = tmp_path / "runner" / "executors" / "serial.py"
    path.parent.mkdir(parents=True)
    path.write_text(f'"""Run the warm start."""\n{code}\n')
    ((found),) = plugins_named_in(tmp_path, ["warm"])
    assert found.startswith("runner/executors/serial.py:")


def test_the_suite_to_copy_makes_runs(registry: Registry, tmp_path: Path) -> None:
    (source,) = examples(ROOT / "docs/running.md", "toml")
    path = tmp_path / "my_suite.toml"
    path.write_text(source, encoding="utf-8")
    specs = [spec for grid in suites.load(str(path)).grids for spec in grid.specs(registry)]
    assert len(specs) == 15
    assert {spec.method.settings.get("floor") for spec in specs} == {None, 0.1}


def test_the_picture_of_the_packages_is_current() -> None:
    done = child(str(ROOT / "docs/packages.py"), "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.heavy
def test_the_page_of_remedies_is_current() -> None:
    done = child(str(ROOT / "docs/remedies.py"), "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.heavy
def test_the_probe_on_the_page_of_probes_measures_and_leaves_the_run_alone(tmp_path: Path) -> None:
    (source,) = examples(ROOT / "docs/probes.md", "python")
    (tmp_path / "my_probe.py").write_text(source, encoding="utf-8")
    registry = Registry((tmp_path / "my_probe.py",))
    probe = registry.load("probe", "my_probe")()
    imports_only_allowed_modules(tmp_path / "my_probe.py")
    laws.probes_change_nothing(small_digits(registry), registry.load("method", "warm"), {"my_probe": probe})
