"""Remedies that act between stages, and those that project: against their formulas, number by number."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from support.zoo import zoo_task
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.learner import Learner

Make = Callable[..., tuple[Any, Learner]]


@pytest.fixture(params=["small_resnet", "mlp_bn"])
def make(request: pytest.FixtureRequest, registry: Registry) -> Make:
    """Return a maker of a method with a learner that stands before its second stage."""

    def made(name: str, **settings: Any) -> tuple[Any, Learner]:
        method = registry.load("method", name)(**settings)
        return method, at_second_stage(small_digits(registry, model=request.param), method)

    return made


def at_second_stage(task: Task, method: Method) -> Learner:
    learner = Learner(task, method, 0, get_device("cpu"))
    stages = list(task.stream(0, data_context()))
    learner.begin_stage(stages[0])
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        method.start(learner)
        for parameter in learner.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    learner.begin_stage(stages[1])
    return learner


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def act(
    method: Method, learner: Learner, hook: str = "before_stage"
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return all parameters before and after a hook."""
    before = values(learner.model)
    with torch.no_grad():
        getattr(method, hook)(learner)
    return before, values(learner.model)


def length(value: Tensor) -> float:
    return math.sqrt(sum(x * x for x in value.flatten().tolist()))


def kinds(model: nn.Module) -> dict[str, str]:
    """Return, by the name of each parameter, whether it is a matrix, a bias, or of a norm."""
    found = {}
    for name, module in model.named_modules():
        for own, parameter in module.named_parameters(name, recurse=False):
            is_norm = "Norm" in type(module).__name__
            found[own] = "norm" if is_norm else "bias" if parameter.dim() == 1 else "matrix"
    return found


# Shrinking and learning rates


@pytest.mark.heavy
def test_shrink_is_shrink_and_perturb_without_noise(registry: Registry) -> None:
    task = small_digits(registry)
    policies = {"optimizer_state": "clear", "batch_norm": "reset"}
    perturbed = registry.load("method", "shrink_perturb")(
        shrink=0.4, noise=0.0, source="gaussian", **policies
    )
    shrunk = registry.load("method", "shrink")(factor=0.4, **policies)
    one, other = trace_run(task, shrunk), trace_run(task, perturbed)
    for name, value in one.weights[-1].items():
        assert torch.equal(value, other.weights[-1][name]), name


def test_shrink_of_normalized_weights_leaves_the_head_and_the_norms_alone(make: Make) -> None:
    method, learner = make("shrink", factor=0.5, scope="normalized")
    before, after = act(method, learner)
    shrunk = {name for name, value in before.items() if torch.equal(after[name], 0.5 * value)}
    kept = {name for name, value in before.items() if torch.equal(after[name], value)}
    of_head = {
        name for name, p in learner.model.named_parameters() if any(p is q for q in learner.head.parameters())
    }
    assert kept == of_head | {name for name, kind in kinds(learner.model).items() if kind == "norm"}
    assert shrunk == before.keys() - kept


def test_shrinking_normalized_weights_changes_no_function(make: Make) -> None:
    method, learner = make("shrink", factor=0.5, scope="normalized")
    x, _ = next(iter(learner.stage.train.batches(64)))
    before = learner.model.train()(x).detach()
    act(method, learner)
    torch.testing.assert_close(
        learner.model(x).detach(), before, rtol=1e-2, atol=1e-2
    )  # up to the norm's eps


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_effective_rate_does_all_that_shrinking_normalized_weights_does(
    registry: Registry, optimizer: str
) -> None:
    # In double precision and with a norm's eps of almost nothing, the two runs are the same functions.
    recipe = {"optimizer": optimizer, "weight_decay": 0.1, "max_epochs": 2, "learning_rate": 0.01}
    task = small_digits(registry, "mlp_bn", recipe)
    lr = registry.load("method", "effective_lr")(factor=0.5)
    shrink = registry.load("method", "shrink")(factor=0.5, scope="normalized", batch_norm="keep")
    logits = [train_three_stages(task, method) for method in (lr, shrink, Method(optimizer_state="clear"))]
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-3, atol=1e-4)
    assert float((logits[0] - logits[2]).abs().max()) > 0.05  # which a warm start does not do


def train_three_stages(task: Task, method: Method) -> Tensor:
    """Return the logits after three stages, in double precision."""
    learner = Learner(task, method, 0, get_device("cpu"))
    learner.model.double()
    for module in learner.model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eps = 1e-20
    for stage in task.stream(0, data_context()):
        learner.begin_stage(stage)
        if stage.index:
            with torch.no_grad():
                method.before_stage(learner)
            learner.clear_optimizer_state()
        for group in learner.optimizer.param_groups:
            group["eps"] = 1e-30
        learner.model.train()
        for x, y in stage.train.batches(16):
            learner.optimizer.zero_grad()
            nn.functional.cross_entropy(learner.model(x.double()), y).backward()
            learner.optimizer.step()
            for group in learner.optimizer.param_groups:  # as at the start of a stage
                group["initial_lr"] = group["lr"]
    logits: Tensor = learner.model(x.double()).detach()
    return logits


@pytest.mark.parametrize(("optimizer", "factor"), [("sgd", 4.0), ("sam", 4.0), ("adam", 2.0), ("adamw", 2.0)])
def test_each_group_keeps_a_base_rate_of_its_own(registry: Registry, optimizer: str, factor: float) -> None:
    method = registry.load("method", "effective_lr")(factor=0.5)
    learner = at_second_stage(small_digits(registry, recipe={"optimizer": optimizer}), method)
    (group,) = learner.optimizer.param_groups
    first = group["params"].pop(0)
    learner.optimizer.add_param_group({"params": [first], "lr": 0.5, "initial_lr": 0.5})
    base = group["initial_lr"]
    for stage in (1, 2):
        learner.begin_stage(replace(learner.stage, index=stage))
        act(method, learner)
        for one in learner.optimizer.param_groups:
            one["initial_lr"] = one["lr"]
        raised = {p: one["lr"] for one in learner.optimizer.param_groups for p in one["params"]}
        assert raised[first] == pytest.approx(0.5 * factor**stage)
        assert raised[learner.head.weight] == base
        assert sorted(set(raised.values())) == pytest.approx(
            sorted({0.5 * factor**stage, base, base * factor**stage})
        )


def test_the_rate_is_raised_once_if_asked(registry: Registry) -> None:
    method = registry.load("method", "effective_lr")(factor=0.5, raised="once")
    learner = at_second_stage(small_digits(registry), method)
    act(method, learner)
    learner.begin_stage(replace(learner.stage, index=2))
    for group in learner.optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    act(method, learner)
    assert sorted({group["lr"] for group in learner.optimizer.param_groups}) == pytest.approx([0.01, 0.04])


def test_an_effective_rate_needs_a_normalization_and_a_finite_run(registry: Registry) -> None:
    cls = registry.load("method", "effective_lr")
    assert "no layer of the model is followed" in (cls().unsupported(zoo_task(registry, "tied")) or "")
    long = small_digits(registry, stages=100)
    assert "set raised=once" in (cls(factor=0.3).unsupported(long) or "")
    assert cls(factor=0.3, raised="once").unsupported(long) is None


def test_rewarming_projects_and_lets_the_rate_fall_linearly(registry: Registry) -> None:
    task = small_digits(registry, recipe={"learning_rate": 0.1, "batch_size": 16})
    method = registry.load("method", "lr_rewarming")(peak=5.0, epochs=2)
    learner = at_second_stage(task, method)
    first, head = values(learner.initial_model()), f"{learner.head_name()}.weight"
    _, after = act(method, learner)
    normalized = [n for n, kind in kinds(learner.model).items() if kind == "matrix" and n != head]
    for name in normalized:
        assert length(after[name]) == pytest.approx(length(first[name]), rel=1e-5)
    assert not torch.equal(after[head], first[head])
    steps = 2 * math.ceil(len(learner.stage.train) / 16)
    rates = [learner.optimizer.param_groups[0]["lr"]]
    for step in range(steps + 2):
        learner.cost.steps = step
        act(method, learner, "after_step")
        rates.append(learner.optimizer.param_groups[0]["lr"])
    expected = [0.1 * (5 - 4 * min(step / steps, 1)) for step in range(steps + 3)]
    assert rates == pytest.approx(expected)


def test_rewarming_is_multiplied_by_the_schedule_of_the_recipe(registry: Registry) -> None:
    recipe = {"learning_rate": 0.01, "schedule": "steps", "milestones": (1,), "decay": 0.5, "max_epochs": 2}
    task = small_digits(registry, recipe=recipe)
    seen: list[list[float]] = []
    cls = registry.load("method", "lr_rewarming")

    class Watched(cls):  # type: ignore[misc, valid-type]
        def after_step(self, learner: Learner) -> None:
            seen.append([learner.stage.index, learner.optimizer.param_groups[0]["lr"]])
            super().after_step(learner)

    trace_run(task, Watched(peak=3.0, epochs=2, project=False))
    for stage in (1, 2):
        rates = [lr for index, lr in seen if index == stage]
        half = len(rates) // 2
        falling = [3 - 2 * step / len(rates) for step in range(len(rates))]
        schedule = [0.01] * half + [0.005] * half
        assert rates == pytest.approx([f * s for f, s in zip(falling, schedule, strict=True)])


# New draws


def test_a_soft_reset_is_one_step_of_the_process(make: Make) -> None:
    method, learner = make("soft_reset", reset=0.2)
    fresh = values(make("soft_reset")[1].fresh_model())
    before, after = act(method, learner)
    for name, kind in kinds(learner.model).items():
        mean, noise = (fresh[name], 0.0) if kind == "norm" else (0.0, math.sqrt(1 - 0.8**2))
        expected = 0.8 * before[name] + 0.2 * mean + noise * (fresh[name] - mean)
        torch.testing.assert_close(after[name], expected, rtol=1e-5, atol=1e-6)


def test_a_soft_reset_keeps_the_variance_of_initial_weights(registry: Registry) -> None:
    method = registry.load("method", "soft_reset")(reset=0.4)
    learner = Learner(small_digits(registry, "mlp_bn"), method, 0, get_device("cpu"))
    learner.begin_stage(list(learner.task.stream(0, data_context()))[1])
    before, after = act(method, learner)
    weights = [name for name, kind in kinds(learner.model).items() if kind == "matrix"]
    for name in weights:
        assert float(after[name].std()) == pytest.approx(float(before[name].std()), rel=0.15)


def test_a_full_soft_reset_is_a_cold_start(registry: Registry) -> None:
    task = small_digits(registry)
    reset, cold = (
        trace_run(task, method)
        for method in (registry.load("method", "soft_reset")(reset=1.0), registry.load("method", "cold")())
    )
    for name, value in reset.weights[-1].items():
        assert torch.equal(value, cold.weights[-1][name]), name


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_layerwise_reinitialization_keeps_one_block_more_each_stage(make: Make, kept: int) -> None:
    method, learner = make("layerwise_reinit", blocks=3)
    learner.begin_stage(replace(learner.stage, index=kept))
    twin = make("layerwise_reinit")[1]
    twin.begin_stage(replace(twin.stage, index=kept))
    first, fresh = values(learner.initial_model()), values(twin.fresh_model())
    before, after = act(method, learner)
    matrices = [name for name, kind in kinds(learner.model).items() if kind == "matrix"]
    blocks = {name: i * 3 // len(matrices) for i, name in enumerate(matrices)}
    for name in matrices:
        if blocks[name] >= kept:
            assert torch.equal(after[name], fresh[name]), name
            continue
        spread = math.sqrt(float(first[name].double().var(correction=0)))
        now = math.sqrt(float(before[name].double().var(correction=0)))
        torch.testing.assert_close(after[name], before[name] * spread / now, rtol=1e-5, atol=1e-7)
    if kept >= 3:  # biases and norms stay
        assert all(torch.equal(after[name], before[name]) for name in before if name not in matrices)


def test_weight_rescaling_draws_nothing(make: Make) -> None:
    method, learner = make("layerwise_reinit", form="rescale")
    first = values(learner.initial_model())
    _, after = act(method, learner)
    for name, kind in kinds(learner.model).items():
        if kind == "matrix":
            assert float(after[name].std()) == pytest.approx(float(first[name].std()), rel=1e-4)


# Projections


@pytest.mark.parametrize("project_head", [False, True])
def test_each_matrix_and_each_norm_is_projected_to_its_initial_norm(make: Make, project_head: bool) -> None:
    method, learner = make("normalize_project", radius=2.0, project_head=project_head)
    first = values(learner.initial_model())
    before, after = act(method, learner, "after_step")
    of_head = {
        name for name, p in learner.model.named_parameters() if any(p is q for q in learner.head.parameters())
    }
    for name, kind in kinds(learner.model).items():
        if kind == "matrix" and (project_head or name not in of_head):
            expected = before[name] * 2 * length(first[name]) / length(before[name])
            torch.testing.assert_close(after[name], expected, rtol=1e-4, atol=1e-7)
        elif kind != "norm":
            assert torch.equal(after[name], before[name]), name
    for name, module in learner.model.named_modules():
        if "Norm" in type(module).__name__:
            own = [f"{name}.weight", f"{name}.bias"]
            joint = math.hypot(*(length(before[n]) for n in own))
            factor = math.sqrt(len(before[own[0]])) / joint
            for n in own:
                torch.testing.assert_close(after[n], before[n] * factor, rtol=1e-4, atol=1e-6)


def test_projecting_once_a_stage_leaves_steps_alone(make: Make) -> None:
    method, learner = make("normalize_project", period="stage", gains="free")
    before, after = act(method, learner, "after_step")
    assert all(torch.equal(after[name], value) for name, value in before.items())
    before, after = act(method, learner)
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    head = {name for name, p in learner.model.named_parameters() if p is learner.head.weight}
    assert changed == {name for name, kind in kinds(learner.model).items() if kind == "matrix"} - head


def test_a_matrix_that_starts_at_zero_is_free(registry: Registry) -> None:
    method = registry.load("method", "normalize_project")(project_head=True)
    learner = Learner(small_digits(registry, "mlp_bn"), method, 0, get_device("cpu"))
    learner.begin_stage(next(iter(learner.task.stream(0, data_context()))))
    with torch.no_grad():
        learner.head.weight.zero_()
        method.start(learner)
        learner.head.weight.fill_(0.5)
    before, after = act(method, learner, "after_step")
    assert all(value.isfinite().all() for value in after.values())
    name = f"{learner.head_name()}.weight"
    assert torch.equal(after[name], before[name])


class Plain(nn.Module):
    """A ReLU network with biases; `norm` in the middle or nothing."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.flatten, self.a, self.b = nn.Flatten(), nn.Linear(64, 6), nn.Linear(6, 6)
        self.norm, self.c, self.head = norm or nn.Identity(), nn.Linear(6, 6), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(self.flatten(x)).relu()).relu()
        return self.head(self.c(self.norm(x)).relu())  # type: ignore[no-any-return]


def rescaling(registry: Registry, norm: nn.Module | None) -> tuple[Any, Learner]:
    """Return soft weight rescaling and a learner with a `Plain` model."""

    class Built(registry.load("method", "soft_weight_rescaling")):  # type: ignore[misc]
        def build(self, task: Task) -> nn.Module:
            return Plain(copy.deepcopy(norm))

    method = Built(trunk=0.1, head=0.3)
    return method, at_second_stage(small_digits(registry, "mlp_bn"), method)


@pytest.mark.parametrize("norm", [None, nn.LayerNorm(6)], ids=["without norm", "with norm"])
def test_soft_rescaling_is_its_formula(registry: Registry, norm: nn.Module | None) -> None:
    method, learner = rescaling(registry, norm)
    first = values(learner.initial_model())
    before, after = act(method, learner, "after_step")
    product = 1.0
    for name in ("a", "b", "norm", "c", "head"):
        if name == "norm":
            product = product if norm is None else 1.0
            continue
        strength, weight = 0.3 if name == "head" else 0.1, before[f"{name}.weight"]
        factor = (strength * length(first[f"{name}.weight"]) + (1 - strength) * length(weight)) / length(
            weight
        )
        product *= factor
        torch.testing.assert_close(after[f"{name}.weight"], factor * weight, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(
            after[f"{name}.bias"], product * before[f"{name}.bias"], rtol=1e-5, atol=1e-7
        )


def test_soft_rescaling_multiplies_what_a_relu_network_computes(registry: Registry) -> None:
    method, learner = rescaling(registry, None)
    x, _ = next(iter(learner.stage.train.batches(32)))
    logits = learner.model(x).detach()
    before, after = act(method, learner, "after_step")
    factor = math.prod(length(after[n]) / length(before[n]) for n in before if n.endswith("weight"))
    assert factor < 0.95
    torch.testing.assert_close(learner.model(x).detach(), factor * logits, rtol=1e-4, atol=1e-5)


def test_soft_rescaling_refuses_what_its_formula_is_not_for(registry: Registry) -> None:
    cls = registry.load("method", "soft_weight_rescaling")
    assert "the model has LSTM" in (cls().unsupported(zoo_task(registry, "recurrent")) or "")


# FIRE


def orthogonal_by_the_paper(matrix: list[list[float]], iterations: int, scale: float) -> list[list[float]]:
    """Newton and Schulz on one matrix, in Python: X <- 1.5 X - 0.5 X (X^T X)."""

    def product(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
        return [
            [sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)]
            for row in a
        ]

    def transpose(a: list[list[float]]) -> list[list[float]]:
        return [list(column) for column in zip(*a, strict=True)]

    is_wide = len(matrix) < len(matrix[0])
    tall = transpose(matrix) if is_wide else matrix
    size = math.sqrt(sum(x * x for row in tall for x in row))
    x = [[value / size for value in row] for row in tall]
    for _ in range(iterations):
        cubic = product(x, product(transpose(x), x))
        x = [[1.5 * a - 0.5 * b for a, b in zip(r, c, strict=True)] for r, c in zip(x, cubic, strict=True)]
    x = transpose(x) if is_wide else x
    return [[scale * value for value in row] for row in x]


@pytest.mark.parametrize("iterations", [1, 10])
def test_fire_is_its_formula_for_each_position_of_a_kernel(registry: Registry, iterations: int) -> None:
    method = registry.load("method", "fire")(iterations=iterations)
    learner = at_second_stage(small_digits(registry), method)
    before, after = act(method, learner)
    for name, kind in kinds(learner.model).items():
        if kind != "matrix":
            assert torch.equal(after[name], before[name]), name
            continue
        slices = before[name].flatten(2).unbind(2) if before[name].dim() > 2 else [before[name]]
        found = after[name].flatten(2).unbind(2) if before[name].dim() > 2 else [after[name]]
        rows, columns = slices[0].shape
        scale = math.sqrt(rows / columns) / len(slices)
        for one, other in zip(slices, found, strict=True):
            expected = orthogonal_by_the_paper(one.double().tolist(), iterations, scale)
            torch.testing.assert_close(other, torch.tensor(expected).float(), rtol=1e-3, atol=1e-5)


def test_fire_makes_matrices_orthogonal(registry: Registry) -> None:
    method = registry.load("method", "fire")(iterations=30)
    learner = at_second_stage(small_digits(registry, "mlp_bn"), method)
    _, after = act(method, learner)
    for name, kind in kinds(learner.model).items():
        if kind == "matrix":
            rows, columns = after[name].shape
            values = torch.linalg.svdvals(after[name])
            torch.testing.assert_close(
                values, torch.full_like(values, math.sqrt(rows / columns)), rtol=0.02, atol=0
            )


@pytest.mark.parametrize("norm", ["trained", "initial"])
@pytest.mark.parametrize("source", ["trained", "fresh"])
def test_fire_can_restore_norms(make: Make, norm: str, source: str) -> None:
    method, learner = make("fire", norm=norm, source=source)
    first = values(learner.initial_model())
    before, after = act(method, learner)
    for name, kind in kinds(learner.model).items():
        if kind == "matrix":
            wanted = length((before if norm == "trained" else first)[name])
            assert length(after[name]) == pytest.approx(wanted, rel=1e-4)


def test_fire_leaves_zeros_and_other_layers_alone(registry: Registry) -> None:
    method = registry.load("method", "fire")(norm="trained")
    learner = at_second_stage(zoo_task(registry, "recurrent"), method)
    with torch.no_grad():
        learner.head.weight.zero_()
    before, after = act(method, learner)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_fire_can_change_queries_and_keys_alone(registry: Registry) -> None:
    task = small_digits(registry, architecture=registry.load("model", "vit")(depth=1, width=8, hidden=8))
    method = registry.load("method", "fire")(**registry.load("method", "fire").presets["han_2026_vit"])
    before, after = act(method, at_second_stage(task, method))
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert {name.split(".")[-2] for name in changed} == {"query", "key"}
    assert all(name.endswith("weight") for name in changed)


# Distillation


def test_distillation_is_its_formula(make: Make) -> None:
    method, learner = make("distill_reset", strength=0.5, temperature=3.0)
    old = copy.deepcopy(learner.model).eval()
    act(method, learner)
    assert not torch.equal(next(learner.model.parameters()), next(old.parameters()))
    x, y = next(iter(learner.stage.train.batches(9)))
    learner.batch = x
    logits = learner.model(x)
    term = method.loss_term(learner, logits, y)
    divergences = []
    for taught, ours in zip(old(x).tolist(), logits.tolist(), strict=True):
        p, q = ([math.exp(z / 3) for z in row] for row in (taught, ours))
        divergences.append(
            sum(a / sum(p) * math.log((a / sum(p)) / (b / sum(q))) for a, b in zip(p, q, strict=True))
        )
    assert float(term.detach()) == pytest.approx(0.5 * 9 * sum(divergences) / 9, rel=1e-4)
    assert learner.cost.remedy_forwards == 9
    term.backward()
    assert all(parameter.grad is None for parameter in method.teacher.parameters())


@pytest.mark.heavy
def test_distillation_teaches_what_the_old_model_says(registry: Registry) -> None:
    recipe = {"learning_rate": 0.01, "target_accuracy": None, "max_epochs": 20}
    task = small_digits(registry, "mlp_bn", recipe, stages=2)
    cls, apart = registry.load("method", "distill_reset"), {}
    for strength in (0.0, 3.0):

        class Watched(cls):  # type: ignore[misc, valid-type]
            def after_stage(self, learner: Learner) -> None:
                if self.teacher is not None and learner.stage.test is not None:
                    x, _ = next(iter(learner.stage.test.batches(1000)))
                    answers = [m.eval()(x).softmax(1) for m in (self.teacher, copy.deepcopy(learner.model))]
                    apart[self.strength] = float((answers[0] - answers[1]).detach().abs().mean())
                super().after_stage(learner)

        trace_run(task, Watched(strength=strength))
    assert apart[3.0] < 0.8 * apart[0.0]


def test_where_classes_arrive_the_teacher_speaks_of_its_own(registry: Registry) -> None:
    method = registry.load("method", "distill_reset")()
    learner = at_second_stage(small_digits(registry, "mlp_bn"), method)
    learner.begin_stage(replace(learner.stage, num_classes=4))
    method.after_stage(learner)
    act(method, learner)
    learner.batch, y = next(iter(learner.stage.train.batches(9)))
    logits = learner.model(learner.batch)
    one = method.loss_term(learner, logits, y)
    changed = torch.cat([logits[:, :4], 5 * logits[:, 4:]], 1)
    torch.testing.assert_close(method.loss_term(learner, changed, y), one)
