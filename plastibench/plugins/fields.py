"""Settings are dataclass fields: the type says which values are allowed, the metadata within which bounds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, field, fields, is_dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self, TypeVar, get_type_hints

from plastibench.errors import RequestError, unknown
from plastibench.plugins.declaration import Bounds, Range, Setting
from plastibench.plugins.values import show, to_json

T = TypeVar("T")
SettingsT = TypeVar("SettingsT", bound="Settings")


def tune(default: T, low: float, high: float, *, log: bool = False, within: Bounds = (None, None)) -> T:
    """Declare a hyperparameter: its published value, the range to search, the bounds of any value."""
    return field(default=default, metadata={"setting": {"range": Range(low, high, log), "within": within}})


def setting(
    default: T = MISSING,  # type: ignore[assignment]  # a setting without a default must be given
    *,
    within: Bounds = (None, None),
    only: tuple[str, str] | None = None,
) -> T:
    """Declare a setting that is not searched, with its bounds.

    `only` is the (setting, value) with which it has a meaning: otherwise it must keep its default, so that
    runs that do not differ have the same id.
    """
    return field(default=default, metadata={"setting": {"within": within, "only": only}})


class Settings:
    """A dataclass whose init fields are settings, checked whenever an instance is made."""

    needs_one_device: ClassVar[str | None] = None
    """Why a run with this plug-in cannot be trained on several devices together; None if it can."""

    def __post_init__(self) -> None:
        """Raise RequestError for a value of the wrong type, out of bounds, or without a meaning."""
        declared = _declared(type(self))
        for name, one in declared.items():
            object.__setattr__(self, name, one.convert(getattr(self, name)))  # a task is frozen
        for name, cls in _fields_of(type(self)).nested.items():
            if not isinstance(getattr(self, name), cls):
                raise RequestError(f"{name}={getattr(self, name)} is not allowed: {name} is a {cls.__name__}")
        values = {name: getattr(self, name) for name in declared}
        for one in declared.values():
            one.check_meaning(values)

    @classmethod
    def check_contract(cls) -> None:
        """Raise RequestError if the class breaks its contract; called when a plug-in is loaded."""

    @classmethod
    def parse(cls, texts: Mapping[str, str], **nested: Settings) -> Self:
        """Return an instance with some settings read from text, and nested ones; others have their defaults.

        Raises RequestError if a setting without a default is missing.
        """
        for one in _declared(cls).values():
            if one.default is MISSING and one.name not in texts:
                raise RequestError(f"{cls.__name__} needs {one.name}=...: {one.name} is {one.allowed}")
        with _checks():
            return cls(**_parse(cls, texts), **nested)

    def from_strings(self, texts: Mapping[str, str], **nested: Settings) -> Self:
        """Return a copy with some settings read from text, as on a command line, and with nested settings.

        All are applied before any is checked, since some are allowed only together.
        """
        with _checks():
            return replace(self, **_parse(type(self), texts), **nested)  # type: ignore[type-var]  # a dataclass


def with_settings(instance: SettingsT, changes: Mapping[str, Any]) -> SettingsT:
    """Return a copy with other settings; those that lose their meaning by the change get their defaults.

    Raises RequestError for an unknown name, and for a value that is not allowed.
    """
    declared = _declared(type(instance))
    for name in changes.keys() - declared.keys():
        raise unknown(f"setting of {type(instance).__name__}", name, declared)
    values = {name: getattr(instance, name) for name in declared} | dict(changes)
    lost = {
        name: one.default
        for name, one in declared.items()
        if name not in changes and not one.has_meaning(values)
    }
    return replace(instance, **{**lost, **changes})  # type: ignore[type-var]  # a dataclass


def settings_of(instance: Settings) -> dict[str, Any]:
    """Return the settings of an instance by name as JSON has them, without nested settings."""
    return {name: to_json(getattr(instance, name)) for name in _declared(type(instance))}


def setting_names(cls: type[Settings]) -> list[str]:
    """Return the names of the settings of a class, without nested settings."""
    return list(_declared(cls))


def search_space(cls: type[Settings]) -> dict[str, Range]:
    """Return the ranges to search, by the name of the setting."""
    return {name: one.range for name, one in _declared(cls).items() if one.range is not None}


def own_choices(cls: type[Settings]) -> dict[str, dict[str, Any]]:
    """Return the values by their text of each setting with finitely many that the class declares itself."""
    choices = {
        name: {text: value for type_ in one.types for text, value in type_.choices.items()}
        for name, one in _declared(cls).items()
        if name in vars(cls).get("__annotations__", {})
    }
    return {name: values for name, values in choices.items() if values}


def check_redeclared(cls: type[Settings], used: Collection[str]) -> None:
    """Raise RequestError for a setting whose type, redeclared, allows more than that of its base.

    A choice that the base does not have is allowed if the class's own code names it: it is in `used`.
    """
    declared = _fields_of(cls)
    for base in filter(_has_settings, cls.__mro__[1:]):
        for name, one in _declared(base).items():
            if name not in declared.settings:
                raise RequestError(f"{name} is a setting of {base.__name__} and must remain one")
            declared.settings[name].check_narrower(one, f"{base.__name__}.{name}", used)
    nested = {name: hint for base in cls.__mro__[1:] for name, hint in _nested_of(base).items()}
    for name, hint in declared.nested.items():
        if not issubclass(hint, nested.get(name, ())):
            raise RequestError(
                f"{name} cannot be a {hint.__name__}: nested settings are those of the contract"
            )


def describe(cls: type[Settings]) -> Iterator[tuple[str, str, str]]:
    """Yield (name, default, what is allowed) for each setting."""
    for name, one in _declared(cls).items():
        yield name, "required" if one.default is MISSING else show(one.default) or "empty", one.allowed


class _Fields(NamedTuple):
    """The init fields of a class by name."""

    settings: dict[str, Setting]
    nested: dict[str, type]
    """The classes of nested settings."""


_fields: dict[type, _Fields] = {}


def _fields_of(cls: type) -> _Fields:
    if cls not in _fields:
        hints = _hints(cls)
        nested = {
            name: hint
            for name, hint in hints.items()
            if isinstance(hint, type) and issubclass(hint, Settings)
        }
        inherited: dict[str, Setting] = {}
        for base in filter(_has_settings, reversed(cls.__mro__[1:])):
            inherited |= _declared(base)
        settings = {
            f.name: Setting.of(cls.__name__, f, hints[f.name], inherited.get(f.name))
            for f in fields(cls)
            if f.name in hints and f.name not in nested
        }
        _fields[cls] = _Fields(settings, nested)
    return _fields[cls]


def _has_settings(cls: type) -> bool:
    return issubclass(cls, Settings) and is_dataclass(cls)


def _nested_of(cls: type) -> dict[str, type]:
    return _fields_of(cls).nested if _has_settings(cls) else {}


def _declared(cls: type) -> dict[str, Setting]:
    """Return the declarations of a class's settings by name, nested settings left out."""
    return _fields_of(cls).settings


def _hints(cls: type) -> dict[str, Any]:
    """Return the types of the init fields of a class."""
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        raise RequestError(
            f"{cls.__name__} declares a field of type {error.name}, which is not imported at run time: "
            "import it outside `if TYPE_CHECKING`"
        ) from error
    return {f.name: hints[f.name] for f in fields(cls) if f.init}


def _setting(cls: type, name: str) -> Setting:
    declared = _declared(cls)
    if name not in declared:
        raise unknown(f"setting of {cls.__name__}", name, declared)
    return declared[name]


def _parse(cls: type, texts: Mapping[str, str]) -> dict[str, Any]:
    return {name: _setting(cls, name).parse(text) for name, text in texts.items()}


@contextmanager
def _checks() -> Iterator[None]:
    """Turn the ValueError of a plug-in's own check of its settings into a RequestError."""
    try:
        yield
    except RequestError:
        raise
    except ValueError as error:
        raise RequestError(str(error)) from error
