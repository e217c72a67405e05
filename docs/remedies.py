"""Write docs/remedies.md, the list of shipped remedies, from the docstrings in methods/.

python docs/remedies.py [--check]   write the page, or fail if it is not current
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from page_script import write_or_check
from pages import code, docstring, escaped, settings_table, table

from plastibench.plugins.fields import describe
from plastibench.plugins.method import ACTING, Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.values import show

PAGE = Path(__file__).with_suffix(".md")
INTRODUCTION = """# Remedies

Every shipped remedy: what it does, its formula and source, its settings with their published values and
the ranges that tuning searches, its published variants, and its cost. Made by `python docs/remedies.py`
from the code in `methods/`; `plastibench list NAME` prints the same. A setting is given with
`--set REMEDY.NAME=VALUE`, a variant as `--method REMEDY:VARIANT`. [Methods](methods.md) groups them, and
says how to write one.

"""
EVERY = """
## Settings of every remedy

Published methods differ on both, often without saying so. A remedy whose defaults are others names them in
its table.

"""
COST = "Cost: "


def page() -> str:
    """Return the text of the page."""
    registry = Registry()
    classes = {name: registry.load("method", name) for name in registry.names("method")}
    overview = table(["remedy", "what it does", "acts in", "cost"], [_row(*item) for item in classes.items()])
    sections = [_section(name, cls) for name, cls in classes.items()]
    return "".join([INTRODUCTION, overview, EVERY, settings_table(Method), *sections])


def _row(name: str, cls: type[Method]) -> list[str]:
    hooks = [code(hook) for hook in ACTING if getattr(cls, hook) is not getattr(Method, hook)]
    module = inspect.getdoc(sys.modules[cls.__module__]) or ""
    what = module.partition("\n")[0].partition(": ")[2] or module
    return [f"[`{name}`](#{name})", escaped(what), ", ".join(hooks), _cost(cls)]


def _section(name: str, cls: type[Method]) -> str:
    cost = _cost(cls)
    text = docstring(cls).replace(f"\n\n{COST}{cost}", "")
    presets = [f"`{preset}` {_values(values)}".strip() for preset, values in cls.presets.items()]
    lines = [f"- {COST}{cost}"]
    if presets:
        lines.append(f"- Variants: {'; '.join(presets)}.")
    if cls.active:
        lines.append(f"- Acts within a few steps with {_values(cls.active)}.")
    usual = [one for one in describe(Method) if one in [*describe(cls)]]
    settings = settings_table(cls, leave_out=[setting for setting, _, _ in usual])
    return "\n".join([f"\n## {name}\n", text, "", *lines, "", settings])


def _cost(cls: type[Method]) -> str:
    """Return what the last paragraph of the docstring says of the cost."""
    *_, last = docstring(cls).split("\n\n")
    if not last.startswith(COST):
        sys.exit(f"the docstring of {cls.__name__} does not end with a paragraph that begins with {COST!r}")
    return last.removeprefix(COST)


def _values(values: object) -> str:
    assert isinstance(values, dict)
    return ", ".join(code(f"{name}={show(value)}") for name, value in values.items())


if __name__ == "__main__":
    write_or_check(PAGE, page, __doc__, "python docs/remedies.py")
