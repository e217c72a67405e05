"""What a file imports, found without executing it, and the same imports led to another package."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator

COMPUTED = "*"
"""Stands for modules whose names are computed when the file is executed."""
FILE_NAME = re.compile(r"[\w./*]{1,100}\.py")
IMPORT_MODULE = "__plastibench_import_module__"
"""The name under which a moved file finds its own `importlib.import_module`."""


def imported_names(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the absolute names that a module of `package` imports, in functions, too.

    `a.b` of `from a import b` may be a module or not. `a.*` stands for all modules of a package. Texts such
    as "a/b.py" count, too: a file may be executed by its path.
    """
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve(node.module or "", node.level, package)
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)
        elif isinstance(node, ast.Call) and _is_import_module(node):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                name = first.value.lstrip(".")
                yield resolve(name, len(first.value) - len(name), package)
            else:
                yield COMPUTED
        elif isinstance(node, ast.Constant):
            file = node.value if isinstance(node.value, str) else ""
            if FILE_NAME.fullmatch(file):
                yield f"{package}.{file[:-3].replace('/', '.')}".lstrip(".")


def resolve(name: str, level: int, package: str) -> str:
    """Return the absolute name of a module that a module of `package` names with `level` dots before it."""
    if not level:
        return name
    parts = package.split(".") if package else []
    return ".".join([*parts[: len(parts) - level + 1], name]).strip(".")


def is_type_checking(node: ast.If) -> bool:
    """Return whether a node is a branch for type checkers, which is never executed."""
    match node.test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


class MovedImports(ast.NodeTransformer):
    """Changes the imports of modules for which `is_local` holds to those of the same modules in `package`."""

    def __init__(self, package: str, is_local: Callable[[str], bool]) -> None:
        self.package, self.is_local = package, is_local

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        """Return one statement or two for each module."""
        return [
            ast.copy_location(statement, node) for alias in node.names for statement in self._import(alias)
        ]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        """Add the package to an absolute name; a relative one leads there as it is."""
        if not node.level and self.is_local(node.module or ""):
            node.module = f"{self.package}.{node.module}"
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Let calls of `importlib.import_module` find the moved modules."""
        self.generic_visit(node)
        if _is_import_module(node):
            node.func = ast.copy_location(ast.Name(IMPORT_MODULE, ast.Load()), node.func)
        return node

    def _import(self, alias: ast.alias) -> Iterator[ast.stmt]:
        top = alias.name.partition(".")[0]
        if not self.is_local(alias.name):
            yield ast.Import([alias])
            return
        yield ast.Import([ast.alias(f"{self.package}.{alias.name}", alias.asname or top)])
        if alias.asname is None:  # `import a.b` binds a
            yield ast.ImportFrom(self.package, [ast.alias(top)], 0)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, but for branches for type checkers."""
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and is_type_checking(node):
        children = node.orelse
    for child in children:
        yield from _executed(child)


def _is_import_module(node: ast.Call) -> bool:
    match node.func:
        case ast.Name(id="import_module") | ast.Attribute(ast.Name(id="importlib"), attr="import_module"):
            return True
    return False
