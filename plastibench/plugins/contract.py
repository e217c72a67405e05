"""Check a plug-in's class against its contract: a name that nothing would use is refused, not ignored."""

import inspect
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from types import CodeType, FunctionType
from typing import Any, Literal, NamedTuple

from plastibench.errors import RequestError
from plastibench.plugins.code_names import names_in, names_of, plugin_code
from plastibench.plugins.fields import Settings, check_redeclared

SIMILAR = 0.82
"""Ratio, as difflib computes it, from which a name is taken for a misspelling of another."""
HOOK_PREFIXES = ("on_", "before_", "after_", "begin_", "end_", "pre_", "post_")
HOOK_SUFFIXES = ("_start", "_begin", "_end", "_before", "_after")
READ_BY_TEXT = {"getattr", "attrgetter", "fields", "asdict", "astuple", "vars", "__dict__", "__match_args__"}
"""Names in code that may read any setting."""

Role = Literal["method", "setting", "class attribute", "attribute without annotation", "descriptor"]


class _Member(NamedTuple):
    """What a class declares under a name."""

    role: Role
    owner: str
    value: Any
    hint: object


@cache
def check_class(cls: Any, base: type) -> None:  # noqa: ANN401 - a class of any kind of plug-in
    """Raise RequestError for what a plug-in's class declares without effect, or against its contract `base`.

    Such as a misspelt hook or class attribute, a hook with another signature or outside the class, a setting
    without annotation, one that no code reads, and one that loses its base's type.
    """
    own = own_classes(cls, base)
    codes = list(plugin_code(own))
    used = {name for code in codes for name in names_of(code)}
    for part in own:
        _check_initialization(part)
        behind = cls.__mro__[cls.__mro__.index(part) + 1 :]
        inherited = {name: member for one in reversed(behind) for name, member in _members(one).items()}
        for name, member in _members(part).items():
            _check_visible(cls, part, name, base)
            if name in inherited:
                _check_override(name, member, inherited[name])
            elif member.role in ("method", "descriptor") and not isinstance(member.value, type):
                _check_method(name, member, inherited, used)
            else:
                _check_attribute(name, member, inherited, used)
    contract = [part for part in cls.__mro__ if part not in own]
    _check_lost_hooks(own, contract, codes, used)
    check_redeclared(cls, used)
    _check_read(cls, contract, used)


def own_classes(cls: type, base: type) -> list[type]:
    """Return the classes that a class consists of, without those of its contract."""
    return [part for part in cls.__mro__ if not _is_contract(part, base)]


@cache
def names_used(cls: type, base: type) -> frozenset[str]:
    """Return the names and texts in the code of a plug-in, given its class, without those of the contract."""
    return frozenset(name for code in plugin_code(own_classes(cls, base)) for name in names_of(code))


def _is_contract(part: type, base: type) -> bool:
    """Return whether a class belongs to a contract, or to Python."""
    packages = [one.__module__.rpartition(".")[0] for one in (part, base)]
    return packages[0] == packages[1] or part.__module__ in ("builtins", "abc", "typing")


def _members(part: type) -> dict[str, _Member]:
    """Return the public names that a class declares itself."""
    hints = inspect.get_annotations(part)
    settings = [f.name for f in fields(part)] if "__dataclass_fields__" in vars(part) else None
    found = {}
    for name in dict.fromkeys((*hints, *vars(part))):
        if not name.startswith("_"):
            value = vars(part).get(name)
            role = _annotated(part, name, hints[name], settings) if name in hints else _role(value)
            found[name] = _Member(role, part.__name__, value, hints.get(name))
    return found


def _annotated(part: type, name: str, hint: object, settings: Collection[str] | None) -> Role:
    if settings is not None and name in settings:
        return "setting"
    if "ClassVar" in str(hint):
        return "class attribute"
    if settings is None:
        raise RequestError(f"{name} is no setting, since {part.__name__} lacks @dataclass above the class")
    raise RequestError(f"{name} is no setting, since its type is {hint}")


def _role(value: object) -> Role:
    if isinstance(value, FunctionType | classmethod | staticmethod):
        return "method"
    is_descriptor = isinstance(value, type) or hasattr(value, "__get__")
    return "descriptor" if is_descriptor else "attribute without annotation"


def _check_visible(cls: type, part: type, name: str, base: type) -> None:
    """Raise RequestError for a name that a class of the contract, inherited first, hides."""
    first = next(one for one in cls.__mro__ if name in (*vars(one), *inspect.get_annotations(one)))
    if _is_contract(first, base):
        raise RequestError(
            f"{name} of {part.__name__} is hidden by that of {first.__name__}: name {part.__name__} before "
            f"{first.__name__} among the bases"
        )


def _check_override(name: str, own: _Member, inherited: _Member) -> None:
    """Raise RequestError if an inherited name becomes something else, or a hook takes other arguments."""
    if (own.role, inherited.role) == ("attribute without annotation", "setting"):
        raise RequestError(
            f"{name} is a setting of {inherited.owner}, whose default only an annotation changes: write "
            f"{name}: {_hint_text(inherited.hint)} = {own.value!r}"
        )
    if inherited.role == "method" and own.role == "method":
        _check_signature(name, own.value, inherited.value)
    elif "method" in (own.role, inherited.role) or (
        own.role != inherited.role and "setting" in (own.role, inherited.role)
    ):
        raise RequestError(f"{name} is a {inherited.role} of {inherited.owner}, so it cannot be a {own.role}")


def _check_method(name: str, own: _Member, inherited: Mapping[str, _Member], used: Collection[str]) -> None:
    """Raise RequestError for a public method with the name of a hook, nearly or in another framework."""
    if name in used:
        return
    names = [other for other, one in inherited.items() if one.owner != Settings.__name__]
    nearest = _nearest(name, names)
    if nearest is None and not name.startswith(HOOK_PREFIXES) and not name.endswith(HOOK_SUFFIXES):
        return
    hooks = (other for other in names if isinstance(inherited[other].value, FunctionType))
    hint = f"did you mean {nearest}?" if nearest else f"there are {', '.join(hooks)}"
    raise RequestError(f"nothing calls {name}: {hint} (the name of a helper begins with an underscore)")


def _check_lost_hooks(
    own: Sequence[type], contract: Iterable[type], codes: Iterable[CodeType], used: Collection[str]
) -> None:
    """Raise RequestError for a hook that is no method of the class, or begins with an underscore."""
    hooks = {name for part in contract for name, one in _members(part).items() if one.role == "method"}
    hooks -= {name for part in own for name in vars(part)}
    for code in codes:
        name, outer = code.co_name, code.co_qualname.rpartition(".")[0]
        is_lost = outer in ("", *(part.__qualname__ for part in own)) or outer.endswith("<locals>")
        is_hook = name.strip("_") in hooks and code.co_varnames[:1] == ("self",)
        if is_lost and is_hook and name not in used:
            raise RequestError(
                f"nothing calls {code.co_qualname}: did you mean {name.strip('_')}, a method of the class?"
            )


def _check_read(cls: type, contract: Iterable[type], used: Collection[str]) -> None:
    """Raise RequestError for a setting of the plug-in that no code reads."""
    known = {name for part in contract for name in _members(part)}
    unread = [field.name for field in fields(cls) if field.init and field.name not in {*known, *used}]
    if unread and READ_BY_TEXT.isdisjoint(used):
        raise RequestError(
            f"no code reads its setting {unread[0]}, so it changes nothing but the run's id: use it in a "
            "hook, or leave it out"
        )


def _check_attribute(
    name: str, own: _Member, inherited: Mapping[str, _Member], used: Collection[str]
) -> None:
    """Raise RequestError for a misspelt class attribute or setting, and for a setting without annotation."""
    attributes = [
        other for other, member in inherited.items() if member.role in ("setting", "class attribute")
    ]
    nearest = None if name in used else _nearest(name, attributes)
    if nearest is not None:
        raise RequestError(
            f"{name} is nearly {nearest}, a {inherited[nearest].role} of {inherited[nearest].owner}: "
            f"did you mean {nearest}?"
        )
    if own.role == "attribute without annotation" and not name.isupper():
        kind = type(own.value).__name__
        raise RequestError(
            f"{name} has no annotation, so it is no setting: write {name}: {kind} = {own.value!r}, or "
            f"{name}: ClassVar[{kind}] = {own.value!r} for a constant"
        )


def _check_signature(name: str, own: Any, inherited: Any) -> None:  # noqa: ANN401 - functions and methods
    """Raise RequestError if a method cannot be called as the inherited one is, or would do nothing."""
    if isinstance(inherited, classmethod) and isinstance(own, FunctionType):
        raise RequestError(f"{name} lacks @classmethod above it")
    called = [
        parameter
        for parameter in inspect.signature(inherited.__get__(object(), object)).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    required = [parameter.name for parameter in called if parameter.default is parameter.empty]
    optional = {parameter.name: None for parameter in called if parameter.name not in required}
    function = inspect.unwrap(getattr(own, "__func__", own))
    try:
        signature = inspect.signature(own.__get__(object(), object))
        signature.bind(*required, **optional)
        signature.bind(*required, *optional)
    except (TypeError, ValueError) as error:
        parameters = inspect.signature(function).parameters.values()
        shown = inspect.Signature([each.replace(annotation=each.empty) for each in parameters])
        raise RequestError(
            f"{name}{shown} is called with ({', '.join((*required, *optional))}): {error}"
        ) from error
    _check_executes(name, function, inherited)


def _check_executes(name: str, function: Any, inherited: Any) -> None:  # noqa: ANN401
    """Raise RequestError for a hook of which a call would execute nothing."""
    result = str(getattr(inherited, "__annotations__", {}).get("return", "Iterator"))
    is_generator = inspect.isgeneratorfunction(function) and "Iterator" not in result
    if is_generator or inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise RequestError(f"{name} has yield or async in it, so that a call executes nothing")


def _check_initialization(part: type) -> None:
    """Raise RequestError for a class whose settings would not be checked when it is made."""
    initialize, check = vars(part).get("__init__"), vars(part).get("__post_init__")
    options = vars(part).get("__dataclass_params__")
    if options is not None and ("__slots__" in vars(part) or not options.init):
        raise RequestError("@dataclass has an option that plug-ins cannot have: init=False or slots=True")
    generated = ("<string>", typing.__file__)  # by dataclasses, and for a Protocol
    if isinstance(initialize, FunctionType) and initialize.__code__.co_filename not in generated:
        raise RequestError(
            "__init__ is the dataclass's own: settings are fields, state is field(init=False), and both may "
            "be set in __post_init__"
        )
    if isinstance(check, FunctionType) and "__post_init__" not in names_in(check):
        raise RequestError("__post_init__ lacks super().__post_init__(), which checks the settings")


def _nearest(name: str, names: Collection[str]) -> str | None:
    plain = {other.replace("_", ""): other for other in names}
    found = get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=SIMILAR)
    return plain[found[0]] if found else None


def _hint_text(hint: object) -> str:
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)
