"""Write docs/remedies.md, the list of shipped remedies, from the docstrings in methods/.

python docs/remedies.py [--check]   write the page, or fail if it is not current
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

from plastibench.plugins.fields import search_space
from plastibench.plugins.method import ACTING, Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.values import show

PAGE = Path(__file__).with_suffix(".md")
INTRODUCTION = """# Remedies

Made by `python docs/remedies.py` from the docstrings in `methods/`. `plastibench list NAME` prints the
settings of a remedy with what is allowed; [methods](methods.md) says how to write one.

| remedy | what it does | acts in | cost |
|---|---|---|---|
"""
COST = "Cost: "


def page() -> str:
    """Return the text of the page."""
    registry = Registry()
    classes = {name: registry.load("method", name) for name in registry.names("method")}
    rows = "".join(_row(name, cls) for name, cls in classes.items())
    return INTRODUCTION + rows + "".join(_section(name, cls) for name, cls in classes.items())


def _row(name: str, cls: type[Method]) -> str:
    hooks = [f"`{hook}`" for hook in ACTING if getattr(cls, hook) is not getattr(Method, hook)]
    module = inspect.getdoc(sys.modules[cls.__module__]) or ""
    what = module.partition("\n")[0].partition(": ")[2] or module
    return f"| [`{name}`](#{name}) | {what} | {', '.join(hooks)} | {_cost(cls)} |\n"


def _section(name: str, cls: type[Method]) -> str:
    text = _docstring(cls).replace(f"\n\n{COST}{_cost(cls)}", "")
    ranges = [f"`{setting}` {_range(space)}" for setting, space in search_space(cls).items()]
    presets = [f"`{preset}` {_values(values)}".strip() for preset, values in cls.presets.items()]
    lines = [
        f"- {what}: {'; '.join(found)}" for what, found in (("tuned", ranges), ("presets", presets)) if found
    ]
    if cls.active:
        lines.append(f"- acts within a few steps with {_values(cls.active)}")
    return "\n".join([f"\n## {name}\n", text, *(["", *lines] if lines else []), ""])


def _docstring(cls: type[Method]) -> str:
    """Return the docstring with one line for each paragraph; outside of code, `*` and `|` are no markup."""
    paragraphs = (inspect.getdoc(cls) or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return re.sub(r"`[^`]*`|[*_|<>]", lambda found: found[0] if "`" in found[0] else f"\\{found[0]}", text)


def _cost(cls: type[Method]) -> str:
    """Return what the last paragraph of the docstring says of the cost."""
    *_, last = _docstring(cls).split("\n\n")
    if not last.startswith(COST):
        sys.exit(f"the docstring of {cls.__name__} does not end with a paragraph that begins with {COST!r}")
    return last.removeprefix(COST)


def _range(space: object) -> str:
    low, high, log = (getattr(space, name) for name in ("low", "high", "log"))
    return f"{show(low)} to {show(high)}{', logarithmic' if log else ''}"


def _values(values: object) -> str:
    assert isinstance(values, dict)
    return ", ".join(f"`{name}={show(value)}`" for name, value in values.items())


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the page is not current")
    options, text = parser.parse_args(), page()
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} is not current: run python docs/remedies.py")


if __name__ == "__main__":
    main()
