"""Search spaces: the ranges that a method declares, and recipe settings that a user adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError, unknown
from plastibench.experiments.spec import Spec
from plastibench.plugins.declaration import Range
from plastibench.plugins.fields import search_space
from plastibench.plugins.values import from_json, show

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DECADE = 10
"""A setting added without a range is searched from a tenth to ten times its value."""


@dataclass(frozen=True)
class SearchDimension:
    """One setting to search, under the name that `--set` has for it."""

    name: str
    """`method.setting`, or the plain name of a setting of the recipe."""
    low: float
    high: float
    log: bool
    whole: bool
    """Whether it is an integer."""
    default: float
    """The published value, which trial 0 has."""

    @classmethod
    def from_range(cls, name: str, default: float, span: Range) -> SearchDimension:
        """Return a dimension. Raises RequestError for a range that does not hold the published value."""
        if not span.low <= default <= span.high:
            raise RequestError(
                f"{name} is searched from {show(span.low)} to {show(span.high)}, which does not hold "
                f"its published value {show(default)}, the first trial of every study: give a range that does"
            )
        is_integer = all(isinstance(number, int) for number in (default, span.low, span.high))
        return cls(name, span.low, span.high, span.log, is_integer, default)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    def distribution(self) -> BaseDistribution:
        """Return Optuna's distribution."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


def dimensions(spec: Spec, method: type[Any], extra: Mapping[str, str]) -> tuple[SearchDimension, ...]:
    """Return the space of a run's method and of what the user added: name to range, as text.

    A setting of the recipe that the method sets itself is left out: its value would have no effect. Raises
    RequestError if there is nothing to search, or a range does not hold the published value.
    """
    name = spec.method.name
    ranges = {f"{name}.{setting}": span for setting, span in search_space(method).items()}
    fixed = method(**from_json(spec.method.settings)).recipe_changes()
    for full_name, text in extra.items():
        prefix, dot, _ = full_name.partition(".")
        if (prefix == name) if dot else (full_name not in fixed):
            ranges[full_name] = _parse_range(full_name, text, _value(spec, full_name))
    if not ranges:
        raise RequestError(
            f"method {name} declares no tune() field, so there is nothing to search: add a setting of the "
            "recipe, such as --tune learning_rate"
        )
    return tuple(SearchDimension.from_range(name, _value(spec, name), span) for name, span in ranges.items())


def with_values(spec: Spec, values: Mapping[str, Any]) -> Spec:
    """Return a spec with the values of a trial."""
    settings = {name.partition(".")[2]: value for name, value in values.items() if "." in name}
    recipe = {name: value for name, value in values.items() if "." not in name}
    method = replace(spec.method, settings={**spec.method.settings, **settings})
    return replace(spec, method=method, recipe={**spec.recipe, **recipe})


def parse_dimensions(texts: Sequence[str]) -> dict[str, str]:
    """Return the dimensions of `NAME` or `NAME=LOW:HIGH[:log]`; the range of the first is empty."""
    ranges: dict[str, str] = {}
    for text in texts:
        name, _, span = (part.strip() for part in text.partition("="))
        if not name or name in ranges:
            raise RequestError(f"--tune {text} is not allowed: write each NAME or NAME=LOW:HIGH[:log] once")
        ranges[name] = span
    return ranges


def check_names(names: Mapping[str, str], specs: Sequence[Spec]) -> None:
    """Raise RequestError for a name that no run has."""
    numbers = {name for spec in specs for name in _numbers(spec)}
    for name in names:
        if name not in numbers:
            raise unknown("number to tune", name, numbers)


def _numbers(spec: Spec) -> Iterator[str]:
    """Yield the names of settings that are numbers."""
    for prefix, settings in (("", spec.recipe), (f"{spec.method.name}.", spec.method.settings)):
        for name, value in settings.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield prefix + name


def _value(spec: Spec, name: str) -> float:
    """Return the value that a run has; `check_names` has made sure that it is a number."""
    _, dot, setting = name.partition(".")
    value: float = spec.method.settings[setting] if dot else spec.recipe[name]
    return value


def _parse_range(name: str, text: str, default: float) -> Range:
    if not text:
        return _default_range(name, default)
    ends = text.removesuffix(":log")
    low, _, high = ends.partition(":")
    try:
        span = Range(_parse_number(low), _parse_number(high), log=ends != text)
    except ValueError:
        span = Range(0, 0)
    if not span.low < span.high or (span.log and span.low <= 0):
        raise RequestError(
            f"--tune {name}={text} is not allowed: write {name}=LOW:HIGH or {name}=LOW:HIGH:log, with LOW "
            "below HIGH and, on a logarithmic scale, above 0"
        )
    return span


def _default_range(name: str, default: float) -> Range:
    if default <= 0:
        raise RequestError(f"--tune {name} needs a range, since it is {show(default)}: {name}=LOW:HIGH")
    low = max(1, default // DECADE) if isinstance(default, int) else default / DECADE
    return Range(low, default * DECADE, log=True)


def _parse_number(text: str) -> float:
    return int(text) if text.strip().isdecimal() else float(text)
