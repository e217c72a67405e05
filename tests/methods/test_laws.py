"""All laws for all methods, under all settings that matter: a new file in methods/ is tested by existing.

Each method obeys every law on a small perceptron with batch normalization, whose runs take 20 ms; the laws
that see layers hold on a residual network too (here) and on models that are not plain (`test_zoo.py`).
"""

from __future__ import annotations

import pytest
from support.pairs import pairs, some_of
from support.tasks import CAPTURED, augmented, changes_captured_steps, few_digits

from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing import laws
from plastibench.testing.run_trace import MakeMethod
from plastibench.testing.variants import variants

CLASSES: dict[str, type[Method]] = {
    name: Registry().load("method", name) for name in Registry().names("method")
}
MAKERS = {name: variants(cls) for name, cls in CLASSES.items()}
# The settings at which a method acts within a few steps: "active" if it declares them.
ACTING = {name: makers.get("active", makers["defaults"]) for name, makers in MAKERS.items()}
OTHER = {
    f"{name}-{variant}": make
    for name, makers in MAKERS.items()
    for variant, make in makers.items()
    if make is not ACTING[name]
}

# One of each kind is part of `make test-fast`: between stages, in the loss, after steps, in the model ...
QUICK = {"cold", "crelu", "dash", "ema", "hare_tortoise", "l2_init", "muon", "redo", "sam", "shrink_perturb"}
EVERY_METHOD = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.heavy]) for name in CLASSES]
)
OPTIMIZERS = pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        *(pytest.param(n, "sgd", marks=[] if n in QUICK else [pytest.mark.heavy]) for n in CLASSES),
        *pairs(("sam", "adam"), 1, whole=("dash", "shrink_perturb")),
    ],
)


@pytest.fixture
def task(registry: Registry) -> Task:
    return few_digits(registry)


def suited(task: Task, make: MakeMethod) -> Task:
    """Return the task, with an augmentation if the method needs one; skip what the method refuses."""
    for one in (task, augmented(task)):
        if make().unsupported(one) is None:
            return one
    pytest.skip(f"refused: {make().unsupported(task)}")


@EVERY_METHOD
def test_a_method_is_well_formed(name: str) -> None:
    laws.is_well_formed(CLASSES[name])


@EVERY_METHOD
def test_a_method_does_not_refuse_the_laws(task: Task, name: str) -> None:
    assert ACTING[name]().unsupported(task) is None or ACTING[name]().unsupported(augmented(task)) is None


@EVERY_METHOD
def test_a_disabled_method_equals_a_warm_start(task: Task, name: str) -> None:
    if CLASSES[name].disabled is None:
        pytest.skip("this method cannot be disabled")
    laws.disabled_method_equals_warm_start(suited(task, CLASSES[name]), CLASSES[name])


@EVERY_METHOD
def test_an_active_method_differs_from_a_warm_start(task: Task, name: str) -> None:
    if CLASSES[name].disabled == {}:
        pytest.skip("this method is the warm start")
    laws.active_method_differs_from_warm_start(suited(task, CLASSES[name]), CLASSES[name])


@EVERY_METHOD
def test_the_same_seed_gives_the_same_result(task: Task, name: str) -> None:
    laws.same_seed_gives_same_result(suited(task, ACTING[name]), ACTING[name])


@EVERY_METHOD
def test_the_first_stage_equals_a_warm_start(task: Task, name: str) -> None:
    if not CLASSES[name].acts_only_between_stages():
        pytest.skip("this method acts within stages")
    laws.first_stage_equals_warm_start(suited(task, ACTING[name]), ACTING[name])


@EVERY_METHOD
def test_evaluation_changes_nothing(task: Task, name: str) -> None:
    laws.evaluation_changes_nothing(suited(task, ACTING[name]), ACTING[name])


@EVERY_METHOD
def test_the_test_data_change_nothing(task: Task, name: str) -> None:
    laws.test_data_change_nothing(suited(task, ACTING[name]), ACTING[name])


@EVERY_METHOD
def test_counted_cost_equals_real_cost(task: Task, name: str) -> None:
    laws.counted_cost_equals_real_cost(suited(task, ACTING[name]), ACTING[name], num_classes=10)


@EVERY_METHOD
def test_the_global_random_state_is_ignored(task: Task, name: str) -> None:
    laws.global_random_state_is_ignored(suited(task, ACTING[name]), ACTING[name])


@OPTIMIZERS
def test_interruption_changes_nothing(registry: Registry, name: str, optimizer: str) -> None:
    # One optimizer shows that the end of an epoch is no special case; each is stopped after every step.
    task = few_digits(registry, optimizer=optimizer, max_epochs=2 if optimizer == "sgd" else 1)
    laws.interruption_changes_nothing(suited(task, ACTING[name]), ACTING[name])


@EVERY_METHOD
def test_its_state_survives_checkpointing(task: Task, name: str) -> None:
    laws.state_survives_checkpointing(suited(task, ACTING[name]), ACTING[name])


@OPTIMIZERS
def test_captured_steps_equal_eager_steps(registry: Registry, name: str, optimizer: str) -> None:
    task = few_digits(registry, **CAPTURED, optimizer=optimizer)
    laws.captured_steps_equal_eager_steps(suited(task, ACTING[name]), ACTING[name])


@pytest.mark.parametrize("name", some_of(CLASSES, QUICK))
def test_the_laws_that_see_layers_hold_on_a_residual_network(registry: Registry, name: str) -> None:
    make, cls = ACTING[name], CLASSES[name]
    task = suited(few_digits(registry, "small_resnet", max_stages=2), make)
    if cls.disabled is not None:
        laws.disabled_method_equals_warm_start(task, cls)
    laws.same_seed_gives_same_result(task, make)
    laws.evaluation_changes_nothing(task, make)
    laws.counted_cost_equals_real_cost(task, make, num_classes=10)
    laws.interruption_changes_nothing(task, make, every=2)
    laws.state_survives_checkpointing(task, make)
    if changes_captured_steps(cls):
        captured = few_digits(registry, "small_resnet", max_stages=2, **CAPTURED)
        laws.captured_steps_equal_eager_steps(suited(captured, make), make)


@pytest.mark.parametrize("name", some_of(OTHER, 3))
def test_other_settings_keep_the_laws_that_depend_on_them(registry: Registry, name: str) -> None:
    # They are choices of the same hooks; where "active" is declared, the defaults act on too few occasions.
    task, make = suited(few_digits(registry, max_epochs=1), OTHER[name]), OTHER[name]
    laws.counted_cost_equals_real_cost(task, make, num_classes=10)
    laws.interruption_changes_nothing(task, make, every=2)
    laws.state_survives_checkpointing(task, make)
