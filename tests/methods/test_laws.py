"""All laws for all methods, under all settings that matter: a new file in methods/ is tested by existing."""

from __future__ import annotations

import pytest
from support.tasks import captured_digits, small_digits

from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.run_trace import MakeMethod
from plastibench.testing.variants import variants

CLASSES: dict[str, type[Method]] = {
    name: Registry().load("method", name) for name in Registry().names("method")
}
MAKERS = {
    f"{method}-{variant}": make for method, cls in CLASSES.items() for variant, make in variants(cls).items()
}
ACTING = {name: make for name, make in MAKERS.items() if name.endswith(("-defaults", "-active"))}
OTHER = {name: make for name, make in MAKERS.items() if name not in ACTING}

EVERY_OPTIMIZER = pytest.mark.parametrize(
    "optimizer", ["sgd", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("sam", "adam"))]
)
EVERY_METHOD = pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
EVERY_ACTING_METHOD = pytest.mark.parametrize("make", ACTING.values(), ids=ACTING)


@EVERY_METHOD
def test_a_method_is_well_formed(cls: type[Method]) -> None:
    laws.is_well_formed(cls)


@EVERY_METHOD
def test_a_disabled_method_equals_a_warm_start(task: Task, cls: type[Method]) -> None:
    if cls.disabled is None:
        pytest.skip("this method cannot be disabled")
    laws.disabled_method_equals_warm_start(task, cls)


@EVERY_METHOD
def test_an_active_method_differs_from_a_warm_start(task: Task, cls: type[Method]) -> None:
    if cls.disabled == {}:
        pytest.skip("this method is the warm start")
    laws.active_method_differs_from_warm_start(task, cls)


@EVERY_ACTING_METHOD
def test_the_same_seed_gives_the_same_result(task: Task, make: MakeMethod) -> None:
    laws.same_seed_gives_same_result(task, make)


@EVERY_ACTING_METHOD
def test_the_first_stage_equals_a_warm_start(task: Task, make: MakeMethod) -> None:
    if not make().acts_only_between_stages():
        pytest.skip("this method acts within stages")
    laws.first_stage_equals_warm_start(task, make)


@EVERY_ACTING_METHOD
def test_evaluation_changes_nothing(task: Task, make: MakeMethod) -> None:
    laws.evaluation_changes_nothing(task, make)


@EVERY_ACTING_METHOD
def test_counted_cost_equals_real_cost(task: Task, make: MakeMethod) -> None:
    laws.counted_cost_equals_real_cost(task, make, num_classes=10)


@EVERY_ACTING_METHOD
def test_the_global_random_state_is_ignored(task: Task, make: MakeMethod) -> None:
    laws.global_random_state_is_ignored(task, make)


@EVERY_OPTIMIZER
@EVERY_ACTING_METHOD
def test_interruption_changes_nothing(registry: Registry, make: MakeMethod, optimizer: str) -> None:
    # One optimizer shows that the end of an epoch is no special case; each is stopped after every step.
    task = small_digits(
        registry, recipe={"optimizer": optimizer, "max_epochs": 2 if optimizer == "sgd" else 1}
    )
    laws.interruption_changes_nothing(task, make)


@EVERY_ACTING_METHOD
def test_its_state_survives_checkpointing(task: Task, make: MakeMethod) -> None:
    laws.state_survives_checkpointing(task, make)


@EVERY_OPTIMIZER
@EVERY_ACTING_METHOD
def test_captured_steps_equal_eager_steps(registry: Registry, make: MakeMethod, optimizer: str) -> None:
    laws.captured_steps_equal_eager_steps(captured_digits(registry, optimizer=optimizer), make)


@pytest.mark.heavy
@pytest.mark.parametrize("make", OTHER.values(), ids=OTHER)
def test_other_settings_keep_the_laws_that_depend_on_them(registry: Registry, make: MakeMethod) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"max_epochs": 1})
    laws.counted_cost_equals_real_cost(task, make, num_classes=10)
    laws.interruption_changes_nothing(task, make, every=2)
    laws.state_survives_checkpointing(task, make)
