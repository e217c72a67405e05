"""Every law over every method there is: a new file in methods/ is tested by existing."""

from __future__ import annotations

import pytest
from support.tasks import captured_digits, small_digits

from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws

NAMES = Registry().names("method")


@pytest.fixture(params=NAMES)
def kind(request: pytest.FixtureRequest, registry: Registry) -> type[Method]:
    found: type[Method] = registry.load("method", request.param)
    return found


def test_a_method_is_well_formed(kind: type[Method]) -> None:
    laws.is_well_formed(kind)


def test_a_method_imports_only_what_it_may(kind: type[Method]) -> None:
    laws.imports_only_allowed_modules(kind)


def test_neutral_setting_is_a_warm_start(task: Task, kind: type[Method]) -> None:
    if kind.disabled is None:
        pytest.skip("this method has no strength that could be off")
    laws.disabled_method_equals_warm_start(task, kind)


def test_default_setting_is_not_a_warm_start(task: Task, kind: type[Method]) -> None:
    if kind.disabled == {}:
        pytest.skip("this method is the warm start")
    laws.default_settings_differ_from_warm_start(task, kind)


def test_same_seed_same_result(task: Task, kind: type[Method]) -> None:
    laws.same_seed_gives_same_result(task, kind)


def test_first_stage_is_a_warm_starts(task: Task, kind: type[Method]) -> None:
    if not kind.acts_only_between_stages():
        pytest.skip("this method acts within stages")
    laws.first_stage_equals_warm_start(task, kind)


def test_measuring_changes_nothing(task: Task, kind: type[Method]) -> None:
    laws.evaluation_changes_nothing(task, kind)


def test_counted_cost_is_real_cost(task: Task, kind: type[Method]) -> None:
    laws.counted_cost_equals_real_cost(task, kind, num_classes=10)


def test_global_stream_does_not_matter(task: Task, kind: type[Method]) -> None:
    laws.global_random_state_is_ignored(task, kind)


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam"])
def test_stopping_anywhere_changes_nothing(registry: Registry, kind: type[Method], optimizer: str) -> None:
    task = small_digits(registry, recipe={"optimizer": optimizer, "max_epochs": 2})
    laws.interruption_changes_nothing(task, kind)


def test_its_state_survives_a_checkpoint(task: Task, kind: type[Method]) -> None:
    laws.state_survives_checkpointing(task, kind)


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam"])
def test_captured_equals_uncaptured(registry: Registry, kind: type[Method], optimizer: str) -> None:
    laws.captured_steps_equal_eager_steps(captured_digits(registry, optimizer=optimizer), kind)
