"""The values that settings may have, as text and as JSON."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin


class ValueType(NamedTuple):
    """A type that a setting may have."""

    allowed: str
    """Which values it has, as the end of a sentence."""
    accepts: Callable[[Any], bool]
    parse: Callable[[str], Any]
    """Raises ValueError or KeyError for text that means no such value."""
    is_number: bool = False
    choices: Mapping[str, Any] = types.MappingProxyType({})
    """All its values by their text, if there are finitely many."""


def value_types(hint: Any) -> tuple[ValueType, ...]:  # noqa: ANN401 - a type form has no type
    """Return the types that an annotation allows. Raises TypeError for those that no setting may have."""
    is_union = get_origin(hint) in (Union, types.UnionType)
    return tuple(map(_value_type, get_args(hint) if is_union else (hint,)))


def show(value: object) -> str:
    """Return a setting's value as a user would type it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, tuple | list):
        return ",".join(str(item) for item in value)
    return str(value)


def from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that were read from JSON as they were before: lists are tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _value_type(hint: Any) -> ValueType:  # noqa: ANN401
    if get_origin(hint) is Literal:
        choices = {show(value): value for value in get_args(hint)}
        return ValueType(
            " or ".join(choices),
            lambda v: _is_choice(v, choices),
            choices.__getitem__,
            choices=choices,
        )
    if hint not in _TYPES:
        raise TypeError(
            f"{hint} is no type of a setting: bool, int, float, str, None, a Literal and tuple[int, ...] are"
        )
    return _TYPES[hint]


def _is_choice(value: object, choices: Mapping[str, object]) -> bool:
    found = choices.get(show(value))
    return value == found and type(value) is type(found)


_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_TYPES: dict[Any, ValueType] = {
    bool: ValueType(
        "true or false",
        lambda v: type(v) is bool,
        lambda text: _BOOLEANS[text.lower()],
        choices={"true": True, "false": False},
    ),
    int: ValueType("a whole number", lambda v: type(v) is int, int, is_number=True),
    float: ValueType("a number", lambda v: type(v) in (int, float), float, is_number=True),
    str: ValueType("text", lambda v: type(v) is str, str),
    types.NoneType: ValueType("none", lambda v: v is None, lambda text: {"none": None}[text.lower()]),
    tuple[int, ...]: ValueType(
        "whole numbers separated by commas",
        lambda v: isinstance(v, tuple) and all(type(item) is int for item in v),
        lambda text: tuple(int(part) for part in text.split(",") if part.strip()),
    ),
}
