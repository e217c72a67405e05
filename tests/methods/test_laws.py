"""All laws for all methods: a new file in methods/ is tested without further ado."""

from __future__ import annotations

import pytest
from support.tasks import captured_digits, small_digits

from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws

NAMES = Registry().names("method")
EVERY_OPTIMIZER = pytest.mark.parametrize(
    "optimizer", ["sgd", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("sam", "adam"))]
)


@pytest.fixture(params=NAMES)
def cls(request: pytest.FixtureRequest, registry: Registry) -> type[Method]:
    """Return the class of each method."""
    found: type[Method] = registry.load("method", request.param)
    return found


def test_a_method_is_well_formed(cls: type[Method]) -> None:
    laws.is_well_formed(cls)


def test_a_disabled_method_equals_a_warm_start(task: Task, cls: type[Method]) -> None:
    if cls.disabled is None:
        pytest.skip("this method cannot be disabled")
    laws.disabled_method_equals_warm_start(task, cls)


def test_default_settings_differ_from_a_warm_start(task: Task, cls: type[Method]) -> None:
    if cls.disabled == {}:
        pytest.skip("this method is the warm start")
    laws.default_settings_differ_from_warm_start(task, cls)


def test_the_same_seed_gives_the_same_result(task: Task, cls: type[Method]) -> None:
    laws.same_seed_gives_same_result(task, cls)


def test_the_first_stage_equals_a_warm_start(task: Task, cls: type[Method]) -> None:
    if not cls.acts_only_between_stages():
        pytest.skip("this method acts within stages")
    laws.first_stage_equals_warm_start(task, cls)


def test_evaluation_changes_nothing(task: Task, cls: type[Method]) -> None:
    laws.evaluation_changes_nothing(task, cls)


def test_counted_cost_equals_real_cost(task: Task, cls: type[Method]) -> None:
    laws.counted_cost_equals_real_cost(task, cls, num_classes=10)


def test_the_global_random_state_is_ignored(task: Task, cls: type[Method]) -> None:
    laws.global_random_state_is_ignored(task, cls)


@EVERY_OPTIMIZER
def test_interruption_changes_nothing(registry: Registry, cls: type[Method], optimizer: str) -> None:
    task = small_digits(registry, recipe={"optimizer": optimizer, "max_epochs": 2})
    laws.interruption_changes_nothing(task, cls)


def test_its_state_survives_checkpointing(task: Task, cls: type[Method]) -> None:
    laws.state_survives_checkpointing(task, cls)


@EVERY_OPTIMIZER
def test_captured_steps_equal_eager_steps(registry: Registry, cls: type[Method], optimizer: str) -> None:
    laws.captured_steps_equal_eager_steps(captured_digits(registry, optimizer=optimizer), cls)
