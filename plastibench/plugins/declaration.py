"""The declaration of one setting: its type, its bounds, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, replace
from types import NoneType
from typing import Any, get_origin

from plastibench.errors import RequestError, did_you_mean
from plastibench.plugins.values import ValueType, show, value_types

Bounds = tuple[float | None, float | None]
"""Smallest and largest value allowed; None is unbounded."""


@dataclass(frozen=True)
class Range:
    """The range in which a tuning searches."""

    low: float
    high: float
    log: bool = False
    """Search on a logarithmic scale."""


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting."""

    name: str
    default: Any
    types: tuple[ValueType, ...]
    within: Bounds = (None, None)
    only: tuple[str, str] | None = None
    range: Range | None = None

    @classmethod
    def of(cls, owner: str, f: Field[Any], hint: object, inherited: Setting | None) -> Setting:
        """Return the declaration of a field of the class `owner`, which keeps the bounds of its base's."""
        try:
            types = value_types(hint)
        except TypeError as error:
            raise RequestError(f"{owner}.{f.name} has the {error}") from error
        declared = dict(f.metadata.get("setting", {}))
        if inherited is not None:  # a new default does not lift the bounds
            declared["within"] = _tighter(declared.get("within", (None, None)), inherited.within)
            declared["only"] = declared.get("only") or inherited.only
        default = f.default if f.default_factory is MISSING else f.default_factory()
        one = cls(f.name, default, types, **declared)
        one.check_range(owner)
        return one if default is MISSING else replace(one, default=one.convert(default))

    @property
    def allowed(self) -> str:
        """Return which values are allowed, as the end of a sentence."""
        types = sorted(self.types, key=lambda type_: type_.hint is NoneType)
        text = " or ".join(type_.allowed + _bounds_text(type_, *self.within) for type_ in types)
        return text if self.only is None else f"{text}, with {self.only[0]}={self.only[1]} only"

    def parse(self, text: str) -> object:
        """Return the value that a text means. Raises RequestError if there is none."""
        for type_ in self.types:
            try:
                return type_.parse(text)
            except (ValueError, KeyError):
                continue
        raise self._not_allowed(text)

    def convert(self, value: object) -> object:
        """Return a value as its type has it. Raises RequestError for another type, or out of bounds."""
        for type_ in self.types:
            try:
                converted = type_.convert(value)
            except (ValueError, KeyError):
                continue
            if self._is_within(converted) and self.parse(show(converted)) == converted:
                return converted
        raise self._not_allowed(value)

    def _is_within(self, value: object) -> bool:
        low, high = self.within
        numbers = [item for item in _items(value) if type(item) in (int, float)]
        return all(
            _is_representable(number) and (low is None or number >= low) and (high is None or number <= high)
            for number in numbers
        )

    def check_narrower(self, base: Setting, name: str, used: Collection[str]) -> None:
        """Raise RequestError for a type that allows more than that of `base`, choices in `used` excepted."""
        hints = [type_.hint for type_ in base.types]
        for type_ in self.types:
            if type_.hint in hints or (type_.hint is int and float in hints):
                continue
            new = [
                text for text, value in type_.choices.items() if text not in used and not base.allows(value)
            ]
            if new or not type_.choices:
                unread = f", and no hook reads {new[0]}" if new else ""
                raise RequestError(
                    f"{self.name} is {self.allowed}, but {name} is {base.allowed}: a setting keeps the type "
                    f"of its base{unread}"
                )

    def allows(self, value: object) -> bool:
        """Return whether `convert` takes a value."""
        try:
            self.convert(value)
        except RequestError:
            return False
        return True

    def check_range(self, owner: str) -> None:
        """Raise RequestError for a range to search that holds values which are not allowed."""
        if self.range is None:
            return
        try:
            ends = [self.convert(end) for end in (self.range.low, self.range.high)]
            usable = all(type_.is_number or type_.hint is NoneType for type_ in self.types)
        except RequestError:
            usable = False
        if not usable or not ends[0] < ends[1] or (self.range.log and ends[0] <= 0):  # type: ignore[operator]
            raise RequestError(
                f"{owner}.{self.name} cannot be searched from {show(self.range.low)} "
                f"to {show(self.range.high)}"
                f"{' on a logarithmic scale' if self.range.log else ''}: {self.name} is {self.allowed}"
            )

    def has_meaning(self, values: Mapping[str, Any]) -> bool:
        """Return whether the values of other settings let this one have an effect."""
        return self.only is None or values[self.only[0]] == self.only[1]

    def check_meaning(self, values: Mapping[str, Any]) -> None:
        """Raise RequestError for a value that another setting makes meaningless."""
        if self.only is None or self.has_meaning(values) or values[self.name] == self.default:
            return
        name, needed = self.only
        raise RequestError(
            f"{self.name}={show(values[self.name])} means nothing with {name}={show(values[name])}: "
            f"leave it out, or set {name}={needed}"
        )

    def _not_allowed(self, value: object) -> RequestError:
        given = value if isinstance(value, str) else show(value)
        hint = did_you_mean(given, [text for type_ in self.types for text in type_.choices])
        return RequestError(f"{self.name}={given} is not allowed: {self.name} is {self.allowed}{hint}")


def _items(value: object) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _bounds_text(type_: ValueType, low: float | None, high: float | None) -> str:
    if not type_.is_number or (low is None and high is None):
        return ""
    each = ", each" if get_origin(type_.hint) is tuple else ""
    if low is None or high is None:
        return f"{each} of at most {show(high)}" if low is None else f"{each} of at least {show(low)}"
    return f"{each} from {show(low)} to {show(high)}"


def _tighter(one: Bounds, other: Bounds) -> Bounds:
    lows, highs = (
        [bound for bound in bounds if bound is not None] for bounds in zip(one, other, strict=True)
    )
    return max(lows, default=None), min(highs, default=None)


def _is_representable(number: int | float) -> bool:
    """Return whether torch can hold a number: a 64-bit integer, or one that is finite."""
    return -(2**63) <= number < 2**63 if isinstance(number, int) else math.isfinite(number)
