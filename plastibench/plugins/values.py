"""The values that settings may have, as text and as JSON."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin

ALLOWED = (
    "bool, int, float, str, an Enum, a Literal, tuples of these such as tuple[int, ...] or "
    "tuple[float, float], and any of these or None"
)


@dataclass(frozen=True)
class ValueType:
    """A type that a setting may have."""

    hint: Any
    """The annotation."""
    allowed: str
    """Which values it has, as the end of a sentence."""
    convert: Callable[[Any], Any]
    """Returns a value as the type has it: a float for an int. Raises ValueError or KeyError for others."""
    parse: Callable[[str], Any]
    """Returns the value that a text means. Raises ValueError or KeyError if there is none."""
    is_number: bool = False
    choices: Mapping[str, Any] = field(default_factory=dict)
    """All its values by their text, if there are finitely many."""


def value_types(hint: Any) -> tuple[ValueType, ...]:  # noqa: ANN401 - a type form has no type
    """Return the types that an annotation allows. Raises TypeError for those that no setting may have."""
    is_union = get_origin(hint) in (Union, types.UnionType)
    hints = get_args(hint) if is_union else (hint,)
    found = tuple(map(_value_type, sorted(hints, key=lambda one: one is not types.NoneType)))
    if None in found:
        raise TypeError(
            f"type {inspect.formatannotation(hint)}, which no setting can have: allowed are {ALLOWED}"
        )
    return found  # type: ignore[return-value]  # None first: text that means none is no other value


def show(value: object) -> str:
    """Return a setting's value as a user would type it."""
    if value is None:
        return "none"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, tuple | list):
        return ",".join(map(show, value))
    return str(value)


def to_json(value: object) -> Any:  # noqa: ANN401 - JSON
    """Return a setting's value as JSON has it: an Enum by its name."""
    if isinstance(value, tuple):
        return tuple(map(to_json, value))
    return value.name if isinstance(value, Enum) else value


def from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that were read from JSON as they were before: lists are tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _value_type(hint: Any) -> ValueType | None:  # noqa: ANN401
    if get_origin(hint) is Literal:
        return _choice(hint, get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(hint, hint)
    if get_origin(hint) is tuple:
        return _tuple(hint, get_args(hint))
    return _SCALARS.get(hint) if isinstance(hint, type) else None


def _choice(hint: Any, values: Iterable[object]) -> ValueType | None:  # noqa: ANN401
    values = list(values)
    choices = {show(value): value for value in values}
    # An Enum's member may be given by its name or, if that is text, by its value.
    aliases = {value.value: value for value in values if isinstance(value, Enum) and type(value.value) is str}
    by_text = {**aliases, **choices}

    def convert(value: object) -> object:
        found = by_text[value if type(value) is str else show(value)]
        is_named = type(value) is str and isinstance(found, Enum)
        if not is_named and (type(value) is not type(found) or value != found):
            raise ValueError
        return found

    if len(choices) < len(values):  # such as 1 and "1", which are the same text
        return None
    return ValueType(hint, " or ".join(choices), convert, by_text.__getitem__, choices=choices)


def _tuple(hint: Any, items: tuple[Any, ...]) -> ValueType | None:  # noqa: ANN401
    any_length = len(items) == 2 and items[1] is Ellipsis
    kinds = [_value_type(item) for item in (items[:1] if any_length else items)]
    if not kinds or any(
        kind is None or kind.hint is types.NoneType or get_origin(kind.hint) is tuple for kind in kinds
    ):
        return None
    known = [kind for kind in kinds if kind is not None]

    def each(function: str, values: list[Any]) -> tuple[Any, ...]:
        of_items = known * len(values) if any_length else known
        return tuple(getattr(kind, function)(value) for kind, value in zip(of_items, values, strict=True))

    def convert(values: object) -> tuple[Any, ...]:
        if not isinstance(values, tuple | list):
            raise ValueError  # noqa: TRY004 - as every type's
        return each("convert", list(values))

    def parse(text: str) -> tuple[Any, ...]:
        return each("parse", [part.strip() for part in text.split(",") if part.strip()])

    return ValueType(hint, _tuple_text(known, any_length), convert, parse, known[0].is_number)


def _tuple_text(kinds: list[ValueType], any_length: bool) -> str:
    texts = [kind.allowed.removeprefix("a ") for kind in kinds]
    if any_length:
        return (
            f"{texts[0]}s separated by commas"
            if kinds[0].is_number
            else f"values separated by commas, each {texts[0]}"
        )
    if len(set(texts)) == 1 and kinds[0].is_number:
        return f"{len(texts)} {texts[0]}s separated by commas"
    return f"{len(texts)} values separated by commas: {', '.join(kind.allowed for kind in kinds)}"


def _scalar(cls: type, of: type) -> Callable[[Any], Any]:
    """Return a conversion to `cls` of values of the class `of`, and of no bools unless `cls` is bool."""

    def convert(value: object) -> object:
        if not isinstance(value, of) or (isinstance(value, bool) and cls is not bool):
            raise ValueError
        return (value if type(value) is cls else cls(value)) or cls()  # such as 0.0 for -0.0

    return convert


_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_SCALARS: dict[Any, ValueType] = {
    bool: ValueType(
        bool,
        "true or false",
        _scalar(bool, bool),
        lambda text: _BOOLEANS[text.lower()],
        choices={"true": True, "false": False},
    ),
    int: ValueType(int, "a whole number", _scalar(int, Integral), int, is_number=True),
    float: ValueType(float, "a number", _scalar(float, Real), float, is_number=True),
    str: ValueType(str, "text", _scalar(str, str), str),
    types.NoneType: ValueType(
        types.NoneType,
        "none",
        _scalar(types.NoneType, types.NoneType),
        lambda text: {"none": None}[text.lower()],
    ),
}
