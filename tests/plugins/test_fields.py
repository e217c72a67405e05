"""Settings: what their types and bounds allow, from text and from JSON, and nothing else."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, make_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
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
        ("several", "9" * 400),
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


WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.integers(1, 9),
    "number": st.floats(0, 1),
    "maybe": st.none() | WHOLE,
    "word": st.just("a"),
    "yes": st.booleans(),
    "several": st.lists(WHOLE).map(tuple),
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


def test_zero_has_one_sign() -> None:
    assert math.copysign(1, Recipe(weight_decay=-0.0).weight_decay) == 1.0


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

    with pytest.raises(
        RequestError, match=r"^Odd\.items has the type list\[int\] \| None, which no setting can"
    ):
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


class Mode(Enum):
    SLOW = "slow"
    FAST = "fast"
    OTHER = 3


@dataclass(kw_only=True)
class Kinds(Settings):
    mode: Mode = Mode.FAST
    maybe_mode: Mode | None = None
    betas: tuple[float, float] = setting((0.9, 0.999), within=(0.0, 1.0))
    steps: tuple[int, ...] | None = None
    names: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = (Mode.SLOW,)
    mixed: tuple[int, float, bool] = (1, 2.0, True)
    rate: float = 1
    ratio: float | None = None
    label: str | None = None
    level: Literal[1, "low"] | None = None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("mode", "SLOW", Mode.SLOW),
        ("mode", "slow", Mode.SLOW),
        ("maybe_mode", "none", None),
        ("maybe_mode", "OTHER", Mode.OTHER),
        ("betas", "0.5, 1", (0.5, 1.0)),
        ("steps", "none", None),
        ("steps", "", ()),
        ("steps", "3", (3,)),
        ("names", "a,b", ("a", "b")),
        ("modes", "FAST,SLOW", (Mode.FAST, Mode.SLOW)),
        ("mixed", "3,4,false", (3, 4.0, False)),
        ("ratio", "none", None),
        ("label", "none", None),
        ("level", "1", 1),
        ("level", "low", "low"),
    ],
)
def test_every_type_is_typed_shown_and_kept_in_json(name: str, text: str, value: Any) -> None:
    made = Kinds().from_strings({name: text})
    assert getattr(made, name) == value
    assert Kinds(**{name: value}) == made
    assert Kinds().from_strings({name: show(value)}) == made
    assert Kinds(**from_json(json.loads(json.dumps(settings_of(made))))) == made


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("mode", "quick", "SLOW or FAST or OTHER"),
        ("mode", 3, "SLOW or FAST or OTHER"),
        ("betas", (0.5,), "2 numbers separated by commas, each from 0 to 1"),
        ("betas", (0.5, 1.5), "2 numbers separated by commas, each from 0 to 1"),
        ("betas", (0.5, math.nan), "2 numbers separated by commas, each from 0 to 1"),
        ("steps", (1, 2.5), "whole numbers separated by commas or none"),
        ("names", ("a,b",), "values separated by commas, each text"),
        ("mixed", (1, 2.0), "3 values separated by commas: a whole number, a number, true or false"),
        ("rate", True, "a number"),
        ("label", "none", "text or none"),
        ("level", "1", "1 or low or none"),
    ],
)
def test_a_value_that_its_type_does_not_have_is_refused(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(RequestError, match=re.escape(f"is not allowed: {name} is {allowed}")):
        Kinds(**{name: value})


def test_a_number_is_the_same_setting_however_it_is_written() -> None:
    float_of_numpy: Any = np.float32(2)
    written = [
        Kinds(rate=2),
        Kinds(rate=2.0),
        Kinds(rate=float_of_numpy),
        Kinds().from_strings({"rate": "2"}),
    ]
    assert {json.dumps(settings_of(made)) for made in written} == {json.dumps(settings_of(written[1]))}


@pytest.mark.parametrize(
    "hint",
    [Path, dict, list[int], tuple, complex, tuple[tuple[int, int], ...], Example | None, Literal[1, "1"]],
)
def test_a_field_of_a_type_that_no_setting_can_have_is_named(hint: Any) -> None:
    cls = make_dataclass("Odd", [("x", hint, None)], bases=(Settings,), kw_only=True)
    with pytest.raises(
        RequestError, match=r"^Odd\.x has the type .*, which no setting can have: allowed are bool"
    ):
        cls()


def test_a_redeclared_setting_keeps_the_bounds_of_its_base() -> None:
    @dataclass(kw_only=True)
    class Other(Example):
        whole: int = 7
        number: float = setting(0.5, within=(0.2, 5.0))
        extra: float = 0.2

    assert Other(word="b").whole == 7
    for wrong in ({"whole": 10}, {"number": 0.1}, {"number": 1.5}, {"extra": 0.3}):
        with pytest.raises(RequestError, match=r"is not allowed: |means nothing with word=a"):
            Other(**wrong)


@pytest.mark.parametrize(
    ("hint", "declared"),
    [
        (bool, tune(True, 0, 1)),
        (int, tune(3, 1.5, 9)),
        (float, tune(0.5, 0.0, 1.0, log=True)),
        (float, tune(0.5, 0.1, 2.0, within=(0.0, 1.0))),
        (float, tune(0.5, 0.9, 0.1)),
        (Mode, tune(Mode.FAST, 0, 1)),
        (tuple[float, float], tune((0.5, 0.5), 0, 1)),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(hint: Any, declared: Any) -> None:
    cls = make_dataclass("Odd", [("x", hint, declared)], bases=(Settings,), kw_only=True)
    with pytest.raises(RequestError, match=r"^Odd\.x cannot be searched from .*: x is "):
        cls()


def test_nested_settings_have_their_class() -> None:
    @dataclass(kw_only=True)
    class Outer(Settings):
        inner: Example = field(default_factory=Example)

    assert settings_of(Outer()) == {}
    with pytest.raises(RequestError, match="inner=3 is not allowed: inner is a Example"):
        Outer(inner=3)  # type: ignore[arg-type]
