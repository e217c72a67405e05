"""The shipped suites and their grids."""

from pages import code, escaped, table

from plastibench.experiments import suites
from plastibench.plugins.registry import Registry
from plastibench.workflows.list import describe


def page() -> str:
    """Return a section for each suite."""
    registry = Registry()
    return "\n".join(_section(name, summary, registry) for name, summary in suites.summaries())


def _section(name: str, summary: str, registry: Registry) -> str:
    grids = {heading: entries for heading, entries in describe(registry, name).items() if heading != name}
    tables = [
        table([heading, ""], [[code(key), escaped(str(value))] for key, value in entries.items()])
        for heading, entries in grids.items()
    ]
    return "\n\n".join([f"## {name}", escaped(summary), *tables])
