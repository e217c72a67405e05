"""Where chosen settings come from: what is read, and what two accounts of one choice say together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plastibench.errors import RequestError
from plastibench.store.tuned_settings import TunedSettings, format_cost, parse, united

SAID = TunedSettings("s", 9, 4, {"learning_rate": 0.1}, "abc", passes=100.0)


def test_an_old_account_has_no_cost() -> None:
    (old,) = parse({"v": {"study": "s", "trials": 9, "trial": 4}}).values()
    assert old.cost == {}
    assert format_cost(old.cost) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"passes": "many"}, "passes of a tuning is 'many'"),
        ({"passes": -1}, "passes of a tuning is -1"),
        ({"seconds": float("nan")}, "seconds of a tuning is nan"),
        ({"flops": float("inf")}, "flops of a tuning is inf"),
        ({"flops": True}, "flops of a tuning is True"),
        ({"trials": 2.5}, "trials of a tuning is 2.5"),
        ({"trial": None}, "trial of a tuning is None"),
        ({"joules": 1}, "is not what a tuning writes"),
    ],
)
def test_what_no_tuning_writes_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse({"v": {"study": "s", "trials": 9, "trial": 4, **changes}})
    assert said in str(refused.value)


def test_two_accounts_give_what_either_knows_and_the_higher_cost() -> None:
    other = replace(SAID, passes=90.0, seconds=5.0)
    together = replace(SAID, seconds=5.0)
    assert united(SAID, other) == united(other, SAID) == together
    assert united(SAID, replace(SAID, passes=None)) == SAID
    others: dict[str, Any] = {"study": "t", "trials": 10, "trial": 5, "data": "x", "published": True}
    for name, value in others.items():
        assert united(SAID, replace(other, **{name: value})) is None


def test_costs_are_shown_with_their_units() -> None:
    cost = {"passes": 1234567.0, "flops": 2.5e9, "seconds": 90.0}
    assert format_cost(cost) == "1,234,567 passes, 0.0025 TFLOPs, 90.0 s"
