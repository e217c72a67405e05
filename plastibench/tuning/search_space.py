"""What is searched: the ranges that a method declares, and recipe settings that a user adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plastibench.errors import RequestError, unknown
from plastibench.experiments.spec import Spec
from plastibench.plugins.fields import Range, search_space, show

DECADE = 10
"""A setting added without a range is searched from a tenth to ten times its value."""


@dataclass(frozen=True)
class SearchDimension:
    """One setting that is searched, by the name that `--set` has for it."""

    name: str
    """`method.setting`, or the plain name of a setting of the recipe."""
    low: float
    high: float
    log: bool
    whole: bool
    """Whether it is a whole number."""
    default: float
    """The published value, which trial 0 has."""

    @classmethod
    def of(cls, name: str, default: float, searched: Range) -> SearchDimension:
        """Make one. Raises RequestError for a range that does not hold the published value."""
        if not searched.low <= default <= searched.high:
            raise RequestError(
                f"{name} is searched from {show(searched.low)} to {show(searched.high)}, which does not hold "
                f"its published value {show(default)}, the first trial of every study: give a range that does"
            )
        whole = all(isinstance(number, int) for number in (default, searched.low, searched.high))
        return cls(name, searched.low, searched.high, searched.log, whole, default)

    def describe(self) -> str:
        """Return the range for people."""
        return f"{self.name} {show(self.low)}..{show(self.high)}{' log' if self.log else ''}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return vars(self).copy()


def dimensions(spec: Spec, kind: type[Any], added: Mapping[str, str]) -> tuple[SearchDimension, ...]:
    """Return the space of a run's method, `kind`, and of what the user added: name to range, as text.

    Raises RequestError where nothing can be searched, or a range does not hold the published value.
    """
    name, found = spec.method.name, {}
    for short, searched in search_space(kind).items():
        found[f"{name}.{short}"] = searched
    for full, text in added.items():
        prefix, dot, _ = full.partition(".")
        if not dot or prefix == name:
            found[full] = _range(full, text, _value(spec, full))
    if not found:
        raise RequestError(
            f"method {name} declares no tune() field, so there is nothing to search: add a setting of the "
            "recipe, such as --tune learning_rate"
        )
    return tuple(SearchDimension.of(full, _value(spec, full), searched) for full, searched in found.items())


def applied(spec: Spec, values: Mapping[str, Any]) -> Spec:
    """Return a description with the values of some dimensions in place of its own."""
    own = {full.partition(".")[2]: value for full, value in values.items() if "." in full}
    shared = {full: value for full, value in values.items() if "." not in full}
    method = replace(spec.method, settings={**spec.method.settings, **own})
    return replace(spec, method=method, recipe={**spec.recipe, **shared})


def parse_dimensions(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the dimensions of `NAME` or `NAME=LOW:HIGH[:log]`; the range of the first is empty."""
    found: dict[str, str] = {}
    for text in texts:
        name, _, searched = (part.strip() for part in text.partition("="))
        if not name or name in found:
            raise RequestError(f"--tune {text} is not allowed: write each NAME or NAME=LOW:HIGH[:log] once")
        found[name] = searched
    return found


def check_names(added: Mapping[str, str], specs: list[Spec]) -> None:
    """Refuse a dimension that no run has."""
    known = {name for spec in specs for name in _searchable(spec)}
    for name in added:
        if name not in known:
            raise unknown("number to tune", name, known)


def _searchable(spec: Spec) -> Iterator[str]:
    """Yield the settings that are numbers."""
    parts = (("", spec.recipe), (f"{spec.method.name}.", spec.method.settings))
    for prefix, settings in parts:
        for name, value in settings.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield prefix + name


def _value(spec: Spec, full: str) -> float:
    """Return the value that a run has; `check_names` has seen that it is a number."""
    prefix, dot, short = full.partition(".")
    value: float = spec.method.settings[short] if dot else spec.recipe[prefix]
    return value


def _range(name: str, text: str, default: float) -> Range:
    if not text:
        return _around(name, default)
    ends = text.removesuffix(":log")
    low, _, high = ends.partition(":")
    try:
        found = Range(_number(low), _number(high), log=ends != text)
    except ValueError:
        found = Range(0, 0)
    if not found.low < found.high or (found.log and found.low <= 0):
        raise RequestError(
            f"--tune {name}={text} is not allowed: write {name}=LOW:HIGH or {name}=LOW:HIGH:log, with LOW "
            "below HIGH and, on a logarithmic scale, above 0"
        )
    return found


def _around(name: str, default: float) -> Range:
    if default <= 0:
        raise RequestError(f"--tune {name} needs a range, since it is {show(default)}: {name}=LOW:HIGH")
    least = max(1, default // DECADE) if isinstance(default, int) else default / DECADE
    return Range(least, default * DECADE, log=True)


def _number(text: str) -> float:
    return int(text) if text.strip().isdecimal() else float(text)
