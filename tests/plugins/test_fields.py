"""Settings: what their types and bounds allow, from text and from JSON, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plastibench.errors import RequestError
from plastibench.plugins.fields import Settings, describe, search_space, setting, settings_of, tune
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.values import from_json, show


@dataclass(kw_only=True)
class Example(Settings):
    whole: int = setting(3, within=(1, 9))
    number: float = tune(0.5, 0.1, 0.9, log=True, within=(0.0, 1.0))
    maybe: int | None = None
    word: Literal["a", "b"] = "a"
    yes: bool = False
    several: tuple[int, ...] = ()
    text: str = ""
    extra: float = setting(0.3, only=("word", "b"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.yes and self.word == "b":
            raise ValueError("yes=true is not allowed with word=b")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("whole", "7", 7),
        ("number", "1e-3", 0.001),
        ("number", "1", 1.0),
        ("maybe", "none", None),
        ("maybe", "-4", -4),
        ("word", "b", "b"),
        ("yes", "True", True),
        ("yes", "0", False),
        ("several", "3,1,2", (3, 1, 2)),
        ("several", "", ()),
        ("text", "any = thing", "any = thing"),
    ],
)
def test_text_is_read_as_the_type_says(name: str, text: str, value: object) -> None:
    assert getattr(Example().from_strings({name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("whole", "0"),
        ("whole", "10"),
        ("whole", "2.0"),
        ("whole", ""),
        ("number", "1.01"),
        ("number", "nan"),
        ("number", "inf"),
        ("number", "none"),
        ("maybe", "x"),
        ("word", "c"),
        ("word", "A"),
        ("yes", "2"),
        ("several", "1,x"),
    ],
)
def test_text_that_is_not_allowed_is_named_with_what_is(name: str, text: str) -> None:
    with pytest.raises(RequestError, match=f"^{name}={text} is not allowed: {name} is ."):
        Example().from_strings({name: text})


@pytest.mark.parametrize(
    ("name", "value"),
    [("whole", True), ("whole", 2.0), ("whole", None), ("number", "0.5"), ("number", True), ("yes", 1),
     ("text", None), ("several", (1, 2.5)), ("several", [True])],
)  # fmt: skip
def test_value_of_another_type_is_not_taken_for_the_right_one(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"{name}="):
        Example(**{name: value})


def test_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'whole'"):
        Example().from_strings({"wole": "1"})


def test_settings_that_exclude_each_other_are_judged_together() -> None:
    before = Example(word="b")
    assert before.from_strings({"yes": "true", "word": "a"}) == Example(yes=True)
    with pytest.raises(RequestError, match="not allowed with word=b"):
        before.from_strings({"yes": "true"})


def test_ranges_and_sentences_follow_from_the_declaration() -> None:
    assert {name: (r.low, r.high, r.log) for name, r in search_space(Example).items()} == {
        "number": (0.1, 0.9, True)
    }
    described = {name: (default, allowed) for name, default, allowed in describe(Example)}
    assert described["whole"] == ("3", "a whole number from 1 to 9")
    assert described["maybe"] == ("none", "a whole number or none")
    assert described["word"] == ("a", "a or b")


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.integers(1, 9),
    "number": st.floats(0, 1),
    "maybe": st.none() | st.integers(),
    "word": st.just("a"),
    "yes": st.booleans(),
    "several": st.lists(st.integers()).map(tuple),
    "text": st.text(),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_settings_survive_json(values: dict[str, Any]) -> None:
    example = Example(**values)
    assert Example(**from_json(json.loads(json.dumps(settings_of(example))))) == example


@given(st.fixed_dictionaries({}, optional={k: v for k, v in VALUES.items() if k not in ("number", "text")}))
def test_settings_can_be_typed_as_they_are_shown(values: dict[str, Any]) -> None:
    example = Example(**values)
    texts = {name: show(value) for name, value in settings_of(example).items()}
    assert Example().from_strings(texts) == example


def test_a_setting_without_a_meaning_is_refused_and_its_default_is_not() -> None:
    assert Example(word="b", extra=0.4).extra == 0.4
    assert Example(word="a", extra=0.3) == Example()
    with pytest.raises(
        RequestError, match=r"extra=0\.4 means nothing with word=a: leave it out, or set word=b"
    ):
        Example(extra=0.4)
    with pytest.raises(RequestError, match=r"extra=0\.5 means nothing"):
        Example().from_strings({"extra": "0.5"})
    allowed = {name: words for name, _, words in describe(Example)}
    assert "with word=b only" in allowed["extra"]


def test_the_recipe_refuses_what_its_optimizer_and_schedule_do_not_use() -> None:
    for values in ({"rho": 0.05}, {"adaptive": True}, {"sam_statistics": "first"}, {"decay": 0.1}):
        with pytest.raises(RequestError, match="means nothing with"):
            Recipe(**values)
    assert Recipe(optimizer="sam", rho=0.05, adaptive=True).adaptive


@dataclass(kw_only=True)
class Required(Settings):
    number: int = setting(within=(None, 3))
    other: float = 0.5


def test_a_setting_without_a_default_must_be_given() -> None:
    assert Required.parse({"number": "3"}) == Required(number=3)
    with pytest.raises(
        RequestError, match=r"^Required needs number=\.\.\.: number is a whole number of at most 3$"
    ):
        Required.parse({"other": "1"})


def test_a_type_that_no_setting_has_is_named() -> None:
    @dataclass(kw_only=True)
    class Odd(Settings):
        items: list[int] | None = None

    with pytest.raises(TypeError, match=r"list\[int\] is no type of a setting: bool, int, float"):
        Odd()


def test_a_type_that_is_not_imported_is_named() -> None:
    namespace: dict[str, Any] = {}
    exec(  # a module that imports a type under TYPE_CHECKING
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from plastibench.plugins.fields import Settings\n"
        "@dataclass\nclass Late(Settings):\n    x: Missing = 3\n",
        namespace,
    )
    with pytest.raises(RequestError, match="Late declares a field of type Missing, which is not imported"):
        namespace["Late"]()
