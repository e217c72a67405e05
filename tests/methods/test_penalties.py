"""Penalties and decay against plain transcriptions of their formulas, and their pitfalls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.learner import Learner

NO_LOGITS = (torch.zeros(1, 10), torch.zeros(1, dtype=torch.long))


@pytest.fixture(params=["small_resnet", "mlp_bn"])
def task(request: pytest.FixtureRequest, registry: Registry) -> Task:
    return small_digits(registry, model=request.param)


def started(task: Task, method: Method) -> Learner:
    """Return a learner in its first stage, whose weights have moved away from the initial ones."""
    learner = Learner(task, method, 0, get_device("cpu"))
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        method.start(learner)
        for parameter in learner.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return learner


def gradients(learner: Learner, term: Tensor) -> dict[str, Tensor]:
    learner.model.zero_grad()
    term.backward()
    named = learner.model.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def smoothed_by_hand(logits: Tensor, y: Tensor, epsilon: float) -> float:
    """-sum_c q_c log p_c, one number at a time, averaged over the batch."""
    total = 0.0
    for row, label in zip(logits.tolist(), y.tolist(), strict=True):
        normalizer = math.log(sum(map(math.exp, row)))
        for c, logit in enumerate(row):
            q = (1 - epsilon if c == label else 0.0) + epsilon / len(row)
            total -= q * (logit - normalizer)
    return total / len(y)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
def test_label_smoothing_makes_the_loss_the_smoothed_cross_entropy(
    registry: Registry, epsilon: float
) -> None:
    method = registry.load("method", "label_smoothing")(epsilon=epsilon)
    learner = started(small_digits(registry), method)
    logits = 3 * torch.randn(7, 10, generator=torch.Generator().manual_seed(0))
    y = torch.arange(7) % 10
    total = learner.loss(logits, y) + method.loss_term(learner, logits, y)
    assert float(total) == pytest.approx(smoothed_by_hand(logits, y, epsilon), rel=1e-5)
    torch.testing.assert_close(total, nn.functional.cross_entropy(logits, y, label_smoothing=epsilon))


def test_label_smoothing_leaves_the_reported_loss_plain(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"max_steps": 1, "batch_size": 16})
    plain, smoothed = (
        trace_run(task, method).results[0].train_loss
        for method in (Method(), registry.load("method", "label_smoothing")())
    )
    assert plain == smoothed


def decayed_by_hand(
    learner: Learner, strength: float, decays: Callable[[Tensor], bool], decoupled: bool
) -> dict[str, Tensor]:
    """Return the weights after the first step, parameter by parameter."""
    after, lr = {}, learner.task.recipe.learning_rate
    twin = Learner(learner.task, Method(), 0, get_device("cpu"))
    for name, own in learner.model.named_parameters():
        parameter = twin.model.get_parameter(name)
        parameter.data.copy_(own)
        parameter.grad = torch.full_like(own, 0.5)
        if decays(own) and decoupled:
            parameter.data.mul_(1 - lr * strength)
        elif decays(own):
            parameter.grad += strength * parameter.data
    for group in twin.optimizer.param_groups:
        group["weight_decay"] = 0.0
    twin.optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type, return-value]
    for name, parameter in twin.model.named_parameters():
        after[name] = parameter.detach().clone()
    return after


@pytest.mark.parametrize("scope", ["matrices", "all"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_weight_decay_is_coupled_except_for_adamw(task: Task, optimizer: str, scope: str) -> None:
    recipe = replace(
        task.recipe,
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=0.01,
        weight_decay=0.3,
    )
    method = Registry().load("method", "weight_decay")(strength=0.2, scope=scope)
    learner = started(replace(task, recipe=recipe), method)
    expected = decayed_by_hand(
        learner, 0.2, lambda p: scope == "all" or p.dim() > 1, decoupled=optimizer == "adamw"
    )
    for parameter in learner.model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    learner.optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type, return-value]
    for name, parameter in learner.model.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.heavy
def test_weight_decay_takes_the_place_of_the_recipes_own(registry: Registry) -> None:
    cls = registry.load("method", "weight_decay")
    with_decay = small_digits(registry, recipe={"weight_decay": 0.05})
    without = small_digits(registry)
    same = [
        trace_run(with_decay, cls(**cls.disabled)).weights[-1],
        trace_run(without, cls(strength=0.05, scope="all")).weights[-1],
        trace_run(with_decay, Method()).weights[-1],
    ]
    other = trace_run(with_decay, cls(strength=0.0, scope="all")).weights[-1]
    for name, value in same[-1].items():
        assert all(torch.equal(value, weights[name]) for weights in same), name
    assert not all(torch.equal(value, other[name]) for name, value in same[-1].items())


def test_weight_decay_lets_norms_and_biases_alone(registry: Registry) -> None:
    task = small_digits(registry, recipe={"learning_rate": 0.05})
    method = registry.load("method", "weight_decay")(strength=0.1)
    groups = started(task, method).optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert all(p.dim() > 1 for p in groups[0]["params"])
    assert all(p.dim() == 1 for p in groups[1]["params"])

    def norm(strength: float) -> float:
        weights = trace_run(task, replace(method, strength=strength)).weights[-1]
        return sum(float(value.square().sum()) for value in weights.values() if value.dim() > 1)

    assert norm(1.0) < 0.5 * norm(0.0)


def matrices_and_vectors(model: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return weights as matrices, the weights of norms, and all biases."""
    matrices, gains, biases = [], [], []
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            matrices.append(module.weight.detach().reshape(len(module.weight), -1))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            gains.append(module.weight.detach())
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            biases.append(bias.detach())
    return matrices, gains, biases


@pytest.mark.parametrize("power", [1, 2])
def test_spectral_regularization_is_the_formula_with_true_singular_values(task: Task, power: int) -> None:
    method = Registry().load("method", "spectral")(strength=0.5, power=power)
    learner = started(task, method)
    for _ in range(300):
        term = method.loss_term(learner, *NO_LOGITS)
    matrices, gains, biases = matrices_and_vectors(learner.model)
    expected = sum((float(torch.linalg.svdvals(w)[0]) ** power - 1) ** 2 for w in matrices)
    expected += sum((value - 1) ** 2 for gain in gains for value in gain.tolist())
    expected += sum(math.hypot(*bias.tolist()) ** (2 * power) for bias in biases)
    assert float(term.detach()) == pytest.approx(0.5 * expected, rel=1e-3)


def test_the_gradient_of_spectral_regularization_is_that_of_the_singular_value(registry: Registry) -> None:
    method = registry.load("method", "spectral")(strength=1.0)
    learner = started(small_digits(registry, "mlp_bn"), method)
    for _ in range(300):
        term = method.loss_term(learner, *NO_LOGITS)
    found = gradients(learner, term)
    for name, module in learner.model.named_modules():
        if isinstance(module, nn.Linear):
            u, s, v = torch.linalg.svd(module.weight.detach())
            expected = 4 * (s[0] ** 2 - 1) * s[0] * torch.outer(u[:, 0], v[0])
            torch.testing.assert_close(found[f"{name}.weight"], expected, rtol=1e-2, atol=1e-3)


def test_vectors_that_are_kept_find_what_a_fresh_vector_underestimates(registry: Registry) -> None:
    method = registry.load("method", "spectral")(strength=1.0)
    learner = started(small_digits(registry), method)
    matrices, _, _ = matrices_and_vectors(learner.model)
    true = [float(torch.linalg.svdvals(w)[0]) for w in matrices]
    generator = torch.Generator().manual_seed(2)
    fresh = []
    for w in matrices:
        u = torch.randn(len(w), generator=generator)
        fresh.append(float((w @ nn.functional.normalize(w.T @ u, dim=0)).norm()))
    for _ in range(100):
        method.loss_term(learner, *NO_LOGITS)
    kept = [float((w.T @ u).norm()) for w, u in zip(matrices, method.vectors, strict=True)]
    assert sum(fresh) < 0.9 * sum(true)
    assert sum(kept) == pytest.approx(sum(true), rel=1e-2)


def test_spectral_regularization_survives_weights_that_are_zero(registry: Registry) -> None:
    method = registry.load("method", "spectral")(strength=1.0)
    learner = started(small_digits(registry, "mlp_bn"), method)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.zero_()
    found = gradients(learner, method.loss_term(learner, *NO_LOGITS))
    assert all(bool(gradient.isfinite().all()) for gradient in found.values())
    assert all(float(u.norm()) == pytest.approx(1.0) for u in method.vectors)


@pytest.mark.heavy
def test_spectral_regularization_draws_the_singular_values_to_one(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"learning_rate": 0.01, "max_epochs": 20})
    make: Callable[..., Any] = partial(registry.load("method", "spectral"), power=2)

    def distance(strength: float) -> float:
        weights = trace_run(task, make(strength=strength)).weights[-1]
        values = [float(torch.linalg.svdvals(w)[0]) for w in weights.values() if w.dim() == 2]
        return sum((value - 1) ** 2 for value in values)

    assert distance(0.1) < 0.5 * distance(0.0)


def layer_matrices(model: nn.Module) -> list[Tensor]:
    """Return the weights of all layers but the last, which is the last one of the model."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return [layer.weight.detach().reshape(len(layer.weight), -1) for layer in layers[:-1]]


@pytest.mark.parametrize("preset", ["chung_2024", "han_2026"])
def test_parseval_is_the_distance_of_every_pair_of_rows_from_orthogonality(task: Task, preset: str) -> None:
    cls = Registry().load("method", "parseval")
    method = cls(**{**cls.presets[preset], "strength": 0.5})
    learner = started(task, method)
    scale, expected, constants = method.scale, 0.0, 0.0
    for w in layer_matrices(learner.model):
        rows, columns = w.shape
        factor = (64 / rows) ** 2 if preset == "chung_2024" else 1.0
        for i in range(rows):
            for j in range(rows):
                product = float(w[i].double() @ w[j].double())
                expected += factor * (product - (scale if i == j else 0.0)) ** 2
        constants += factor * max(0, rows - columns) * scale**2
    if preset == "han_2026":
        gains = matrices_and_vectors(learner.model)[1]
        expected += sum((value**2 - scale) ** 2 for gain in gains for value in gain.tolist())
    term = method.loss_term(learner, *NO_LOGITS).detach()
    assert float(term) == pytest.approx(0.5 * (expected - constants), rel=1e-3)


def test_the_smaller_gram_matrix_has_the_same_gradient(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", architecture=registry.load("model", "mlp_bn")(width=100))
    method = registry.load("method", "parseval")(strength=1.0, tuned_width=None)
    learner = started(task, method)
    found = gradients(learner, method.loss_term(learner, *NO_LOGITS))
    tall = 0
    for name, module in learner.model.named_modules():
        if isinstance(module, nn.Linear) and f"{name}.weight" in found:
            w = module.weight.detach()
            tall += len(w) > w.shape[1]
            expected = 4 * (w @ w.T - 2 * torch.eye(len(w))) @ w
            torch.testing.assert_close(found[f"{name}.weight"], expected, rtol=1e-3, atol=1e-3)
    assert tall


@pytest.mark.heavy
def test_parseval_leaves_the_last_layer_alone_and_makes_rows_orthogonal(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"learning_rate": 0.01, "max_epochs": 20})
    make: Callable[..., Any] = partial(registry.load("method", "parseval"), tuned_width=None)
    learner = started(task, make())
    head = set(learner.head.parameters())
    assert all(weight not in head for weight in learner._method.matrices)  # type: ignore[attr-defined]

    def distance(strength: float) -> float:
        weights = trace_run(task, make(strength=strength)).weights[-1]
        first = next(w for w in weights.values() if w.dim() == 2)
        return float((first @ first.T - 2 * torch.eye(len(first))).square().sum())

    assert distance(0.1) < 0.2 * distance(0.0)


@pytest.mark.parametrize("form", ["sum", "mean"])
def test_wasserstein_init_pairs_the_values_by_their_order(task: Task, form: str) -> None:
    method = Registry().load("method", "wasserstein_init")(strength=0.5, form=form)
    learner = started(task, method)
    first = dict(learner.initial_model().named_parameters())
    expected, num_constant = 0.0, 0
    for name, parameter in learner.model.named_parameters():
        old, new = sorted(first[name].flatten().tolist()), sorted(parameter.flatten().tolist())
        if old[0] == old[-1]:  # as those of normalization
            num_constant += 1
            continue
        squares = sum((a - b) ** 2 for a, b in zip(old, new, strict=True))
        expected += squares / (len(old) if form == "mean" else 1)
    assert num_constant
    assert float(method.loss_term(learner, *NO_LOGITS).detach()) == pytest.approx(0.5 * expected, rel=1e-4)


def test_wasserstein_init_lets_weights_change_places(registry: Registry) -> None:
    method = registry.load("method", "wasserstein_init")()
    learner = Learner(small_digits(registry), method, 0, get_device("cpu"))
    learner.begin_stage(next(iter(learner.task.stream(0, data_context()))))
    with torch.no_grad():
        method.start(learner)
        for parameter in learner.model.parameters():
            parameter.copy_(parameter.flatten().flip(0).reshape(parameter.shape))
    assert float(method.loss_term(learner, *NO_LOGITS).detach()) == 0.0


def test_wasserstein_init_keeps_the_spread_of_the_weights(registry: Registry) -> None:
    recipe = {"learning_rate": 0.05, "max_epochs": 10, "batch_size": 40}
    task = small_digits(registry, "mlp_bn", recipe, train_size=120)

    def moved(strength: float) -> float:
        method = registry.load("method", "wasserstein_init")(strength=strength)
        last = trace_run(task, method).weights[-1]
        first = Learner(task, Method(), 0, get_device("cpu")).model.named_parameters()
        return sum(
            float((last[name].flatten().sort()[0] - p.detach().flatten().sort()[0]).square().sum())
            for name, p in first
            if p.dim() > 1
        )

    assert moved(1.0) < 0.3 * moved(0.0)


@pytest.mark.parametrize("bound", ["fan_in", "shape"])
@pytest.mark.parametrize("head", [True, False])
def test_weight_clipping_clips_each_weight_at_its_bound(task: Task, bound: str, head: bool) -> None:
    method = Registry().load("method", "weight_clipping")(kappa=0.5, bound=bound, head=head)
    learner = started(task, method)
    modules = dict(learner.model.named_modules())
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    with torch.no_grad():
        method.after_step(learner)
    clipped = 0
    for name, parameter in learner.model.named_parameters():
        module: Any = modules[name.rpartition(".")[0]]
        is_layer = isinstance(module, (nn.Linear, nn.Conv2d))
        if bound == "shape":
            limit = 0.5 / math.sqrt(sum(parameter.shape[:2])) if parameter.dim() > 1 else 0.5
        else:
            limit = 0.5 / math.sqrt(module.weight[0].numel()) if is_layer else math.inf
        if module is learner.head and not head:
            limit = math.inf
        expected = [max(-limit, min(limit, value)) for value in before[name].flatten().tolist()]
        torch.testing.assert_close(parameter.detach().flatten(), torch.tensor(expected))
        clipped += not torch.equal(parameter, before[name])
    assert clipped


def test_weight_clipping_holds_in_a_whole_run(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"learning_rate": 0.1})
    weights = trace_run(task, registry.load("method", "weight_clipping")(kappa=1.0)).weights[-1]
    for value in weights.values():
        if value.dim() == 2:
            assert float(value.abs().max()) <= value.shape[1] ** -0.5 + 1e-7


def test_parseval_refuses_a_model_of_one_layer(registry: Registry) -> None:
    class OneLayer(Architecture):
        def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

    method = registry.load("method", "parseval")()
    task = replace(small_digits(registry), architecture=OneLayer())
    assert method.unsupported(task) == "the model has no layer before the last"
    assert method.unsupported(small_digits(registry)) is None
