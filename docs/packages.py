"""Draw the packages inside plastibench and what imports what as docs/packages.svg, or count them.

python docs/packages.py [--check]               write the picture, or fail if it is not current
python docs/packages.py --numbers [--tree DIR]  print files, lines and imports of each package
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
from drawing import svg

PACKAGE = "plastibench"
ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/packages.svg"


def import_graph(tree: Path) -> grimp.ImportGraph:
    """Return which file imports which, late imports included and type-only ones not."""
    sys.path.insert(0, str(tree))
    try:
        return grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    finally:
        sys.path.remove(str(tree))


def package_graph(tree: Path) -> grimp.ImportGraph:
    """Return which package imports which; a file in the root is a node of its own."""
    graph = import_graph(tree)
    for package in graph.find_children(PACKAGE):
        graph.squash_module(package)
    return graph


def arrows(graph: grimp.ImportGraph) -> Iterator[tuple[str, str]]:
    """Yield each pair of importer and imported."""
    for importer in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(importer) - {importer}):
            yield importer, imported


def direct_arrows(graph: grimp.ImportGraph) -> Iterator[tuple[str, str]]:
    """Yield the arrows that no longer way implies (the transitive reduction)."""
    for importer, imported in arrows(graph):
        siblings = graph.find_modules_directly_imported_by(importer) - {importer, imported}
        if not any(imported in graph.find_upstream_modules(sibling) for sibling in siblings):
            yield importer, imported


def cycles(graph: grimp.ImportGraph) -> set[frozenset[str]]:
    """Return the largest groups of files that all import each other, directly or not."""
    groups = (
        graph.find_upstream_modules(name) & graph.find_downstream_modules(name) | {name}
        for name in graph.modules
    )
    return {frozenset(group) for group in groups if len(group) > 1}


def num_floors(graph: grimp.ImportGraph) -> int:
    """Return the length of the longest chain of imports; a cycle counts as one floor."""
    together = {name: group for group in cycles(graph) for name in group}

    @cache
    def floor(group: frozenset[str]) -> int:
        below = {
            together.get(name, frozenset({name}))
            for member in group
            for name in graph.find_modules_directly_imported_by(member)
        }
        return 1 + max((floor(lower) for lower in below - {group}), default=0)

    return max(floor(together.get(name, frozenset({name}))) for name in graph.modules)


def late_imports(tree: Path) -> tuple[int, int]:
    """Return how many imports stand inside functions: of the package's own files, and of other packages."""
    num_internal = num_external = 0
    for path in (tree / PACKAGE).rglob("*.py"):
        functions = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        inner = {
            node
            for function in functions
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        names = [getattr(node, "module", None) or node.names[0].name for node in inner]
        internal = [name for name in names if name.partition(".")[0] == PACKAGE]
        num_internal += len(internal)
        num_external += len(names) - len(internal)
    return num_internal, num_external


def package_sizes(tree: Path) -> dict[str, tuple[int, int]]:
    """Return the files and lines of each package; the files in the root come first."""
    sizes: dict[str, tuple[int, int]] = {"(root)": (0, 0)}
    for path in sorted((tree / PACKAGE).rglob("*.py")):
        inside = path.relative_to(tree / PACKAGE).parts
        package = inside[0] if len(inside) > 1 else "(root)"
        files, lines = sizes.get(package, (0, 0))
        sizes[package] = files + 1, lines + len(path.read_text(encoding="utf-8").splitlines())
    return sizes


def numbers(tree: Path) -> str:
    """Return a Markdown table of the packages and what there is between them."""
    files, packages, sizes = import_graph(tree), package_graph(tree), package_sizes(tree)
    total = [sum(column) for column in zip(*sizes.values(), strict=True)]
    num_internal, num_external = late_imports(tree)
    rows = [*sizes.items(), ("all", tuple(total))]
    return "\n".join(
        [
            "| package | files | lines |",
            "|---|---|---|",
            *(f"| {package} | {num_files} | {lines} |" for package, (num_files, lines) in rows),
            "",
            "| | files | packages |",
            "|---|---|---|",
            f"| floors | {num_floors(files)} | {num_floors(packages)} |",
            f"| arrows | {len([*arrows(files)])} | {len([*arrows(packages)])} |",
            f"| cycles | {len(cycles(files))} | {len(cycles(packages))} |",
            "",
            f"late imports: {num_internal} of this package, {num_external} of others",
        ]
    )


def picture(tree: Path) -> str:
    """Return a picture of the packages: arrows lead from what imports to what is imported."""
    start = f"{PACKAGE}."
    shown = [
        (upper.removeprefix(start), lower.removeprefix(start))
        for upper, lower in direct_arrows(package_graph(tree))
    ]
    return svg(shown, f"The packages of {PACKAGE}: each imports lower ones only")


def main() -> None:
    """Write the picture, check it, or print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the picture is not current")
    parser.add_argument("--numbers", action="store_true", help="print the numbers instead")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout to count")
    options = parser.parse_args()
    if options.numbers:
        print(numbers(options.tree))
        return
    current = picture(ROOT)
    if not options.check:
        PICTURE.write_text(current, encoding="utf-8")
    elif not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != current:
        sys.exit(f"{PICTURE} is not current: run python docs/packages.py")


if __name__ == "__main__":
    main()
