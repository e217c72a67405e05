"""Each probe measures what its formula says: on models whose answer is known, or that loops compute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.api import Compose, InMemoryDataset, Method, Stage, Task
from plastibench.devices import get_device
from plastibench.plugins.architecture import Architecture, LayerFactories, Shape
from plastibench.plugins.registry import Registry
from plastibench.testing.run_trace import data_context
from plastibench.training.learner import Learner

CLASSES, PIXELS = 10, 64
LOSS_AT_0 = math.log(CLASSES)


@dataclass(frozen=True, kw_only=True)
class Small(Architecture):
    """Linear layers from the pixels to the logits, with tanh between them."""

    widths: tuple[int, ...] = ()

    def build(self, shape: Shape, num_classes: int, factories: LayerFactories) -> nn.Module:
        sizes = (PIXELS, *self.widths, num_classes)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.Tanh()]
        return nn.Sequential(*layers[:-1])


def one_hot_images(pixels: list[int], labels: list[int]) -> InMemoryDataset:
    """Return black images with one white pixel each."""
    x = torch.zeros(len(pixels), PIXELS, dtype=torch.uint8)
    x[torch.arange(len(pixels)), torch.tensor(pixels)] = 255
    zero, one = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    return InMemoryDataset(x.view(-1, 1, 8, 8), torch.tensor(labels), zero, one, Compose())


def learner_on(
    registry: Registry,
    data: InMemoryDataset,
    chunks: tuple[int, ...],
    *widths: int,
    zero: bool = True,
    recipe: dict[str, Any] | None = None,
) -> Learner:
    """Return a learner at the last of some stages, with weights of 0 unless told otherwise."""
    task = replace(small_digits(registry, recipe=recipe), architecture=Small(widths=widths))
    learner = Learner(task, Method(), 0, get_device("cpu"))
    learner.begin_stage(Stage(len(chunks) - 1, data, chunks, None, None))
    if zero:
        with torch.no_grad():
            for weight in learner.model.parameters():
                weight.zero_()
    return learner


def digits_learner(registry: Registry, *widths: int, recipe: dict[str, Any] | None = None) -> Learner:
    """Return a learner with random weights at the second stage of digits."""
    task: Task = replace(small_digits(registry, recipe=recipe), architecture=Small(widths=widths))
    learner = Learner(task, Method(), 0, get_device("cpu"))
    learner.begin_stage(list(task.stream(0, data_context()))[1])
    return learner


def measure(registry: Registry, probe: str, learner: Learner, **settings: Any) -> Mapping[str, float]:
    """Measure a copy, as a run does."""
    return registry.load("probe", probe)(**settings).measure(learner.clone("test"))  # type: ignore[no-any-return]


def gradient(learner: Learner, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the mean loss as one vector."""
    weights = list(learner.model.parameters())
    loss = nn.functional.cross_entropy(learner.model(x), y)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


# feature_rank


def test_ranks_of_orthonormal_features_are_their_number(registry: Registry) -> None:
    """The identity has srank and stable rank d, and d - 1 after its mean is subtracted."""
    data = one_hot_images(list(range(PIXELS)), [0] * PIXELS)
    ranks = measure(registry, "feature_rank", learner_on(registry, data, (PIXELS,)))
    assert ranks["srank"] == PIXELS
    assert ranks["stable_rank"] == pytest.approx(PIXELS)
    assert ranks["effective_rank"] == pytest.approx(PIXELS - 1)


@pytest.mark.parametrize("rank", [1, 2, 7])
def test_features_of_rank_r_have_srank_r_and_stable_rank_r(registry: Registry, rank: int) -> None:
    data = one_hot_images([place % rank for place in range(14)], [0] * 14)
    ranks = measure(registry, "feature_rank", learner_on(registry, data, (14,)))
    assert ranks["srank"] == rank
    assert ranks["stable_rank"] == pytest.approx(rank)


def test_ranks_are_those_of_the_singular_values_of_the_input_of_the_head(registry: Registry) -> None:
    learner = digits_learner(registry, 12)
    x = torch.cat([x for x, _ in learner.stage.train.batches(500)])
    h = learner.model[1](x.flatten(1)).tanh().detach()  # type: ignore[index]
    s = torch.linalg.svdvals(h).tolist()
    r = next(r for r in range(1, 13) if sum(s[:r]) >= 0.99 * sum(s))
    centered = torch.linalg.svdvals(h - h.mean(0)).tolist()
    p = [value / sum(centered) for value in centered]
    ranks = measure(registry, "feature_rank", learner)
    assert ranks["srank"] == r
    assert ranks["stable_rank"] == pytest.approx(sum(v * v for v in s) / s[0] ** 2, rel=1e-4)
    assert ranks["effective_rank"] == pytest.approx(math.exp(-sum(v * math.log(v) for v in p)), rel=1e-4)


# gradient_alignment


def test_norms_and_cosines_of_gradients_are_those_of_softmax_regression(registry: Registry) -> None:
    """At weights of 0 the gradient of (x, y) is (1/C - e_y) (x, 1)^T: its products are known."""
    data = one_hot_images([0] * 8 + [1] * 4, [3] * 8 + [5] * 4)
    values = measure(registry, "gradient_alignment", learner_on(registry, data, (8, 4)))
    squared, crossed = (1 - 1 / CLASSES) * 2, -1 / CLASSES * 1
    assert values["norm_old"] == pytest.approx(math.sqrt(squared))
    assert values["norm_new"] == pytest.approx(math.sqrt(squared))
    mixed = (4 * squared + 1 * squared + 4 * crossed) / 9  # the mean of 2/3 old and 1/3 new gradients
    assert values["norm_all"] == pytest.approx(math.sqrt(mixed))
    assert values["cosine"] == pytest.approx(crossed / squared)
    assert values["cosine[1]"] == pytest.approx(crossed / squared)
    assert values["noise_floor"] == pytest.approx(1.0)
    assert values["ratio"] == pytest.approx(crossed / squared)


def test_the_norm_of_the_mean_gradient_does_not_grow_with_the_data(registry: Registry) -> None:
    norms = [
        measure(registry, "gradient_alignment", learner_on(registry, one_hot_images([0] * n, [1] * n), (n,)))
        for n in (3, 300)
    ]
    assert norms[0]["norm_new"] == pytest.approx(norms[1]["norm_new"])
    assert math.isnan(norms[0]["cosine"])


def test_old_and_new_data_of_one_distribution_have_a_ratio_near_1(registry: Registry) -> None:
    ratio = measure(registry, "gradient_alignment", digits_learner(registry, 8))["ratio"]
    assert ratio == pytest.approx(1.0, abs=0.2)


# layer_weights


def test_layers_have_the_norms_and_distances_of_a_known_change(registry: Registry) -> None:
    learner = digits_learner(registry, 8)
    layer, head = learner.model[1], learner.model[3]  # type: ignore[index]
    start, last = (
        math.hypot(*(float(w.detach().norm()) for w in part.parameters())) for part in (layer, head)
    )
    with torch.no_grad():
        for weight in layer.parameters():
            weight.mul_(-3)
    values = measure(registry, "layer_weights", learner)
    assert values["norm[1]"] == pytest.approx(3 * start, rel=1e-5)
    assert values["rms[1]"] == pytest.approx(3 * start / math.sqrt(8 * 65), rel=1e-5)
    assert values["distance[1]"] == pytest.approx(4.0, rel=1e-5)
    assert values["cosine[1]"] == pytest.approx(-1.0, rel=1e-5)
    assert values["distance[3]"] == 0.0
    assert values["norm[3]"] == pytest.approx(last, rel=1e-5)


# local_redundancy


def test_the_squared_gradient_of_a_uniform_prediction_is_known(registry: Registry) -> None:
    """Whatever label is drawn, ||grad||^2 = (1 - 1/C) (||x||^2 + 1) at weights of 0."""
    learner = learner_on(registry, one_hot_images(list(range(20)), [0] * 20), (20,))
    value = measure(registry, "local_redundancy", learner, batch_size=1)["squared_gradient"]
    assert value == pytest.approx((1 - 1 / CLASSES) * 2)


@pytest.mark.heavy
@pytest.mark.parametrize("batch_size", [1, 13])
def test_the_squared_gradient_is_the_trace_of_the_fisher_information(
    registry: Registry, batch_size: int
) -> None:
    learner = digits_learner(registry)
    trace, total = 0.0, 0
    for x, _ in learner.stage.train.batches(500):
        for image in x:
            p = learner.model(image[None]).softmax(1)[0].detach()
            size = float(image.square().sum()) + 1  # of softmax regression: ||p - e_y||^2 (||x||^2 + 1)
            for y in range(CLASSES):
                trace += (
                    float(p[y] * (p - nn.functional.one_hot(torch.tensor(y), CLASSES)).square().sum()) * size
                )
            total += 1
    probe = registry.load("probe", "local_redundancy")(batch_size=batch_size)
    values = [probe.measure(learner.clone("draw", draw))["squared_gradient"] for draw in range(40)]
    assert sum(values) / 40 == pytest.approx(trace / total, rel=0.1)


# optimization_readiness


def test_gradients_that_agree_are_as_ready_as_they_are_strong(registry: Registry) -> None:
    learner = learner_on(registry, one_hot_images([5] * 12, [2] * 12), (12,))
    values = measure(registry, "optimization_readiness", learner, batch_size=3)
    assert values["loss"] == pytest.approx(LOSS_AT_0)
    assert values["readiness"] == pytest.approx((1 - 1 / CLASSES) * 2 / LOSS_AT_0)
    assert values["noise_scale"] == pytest.approx(0.0, abs=1e-5)


def test_readiness_and_noise_scale_are_those_of_loops_over_mini_batches(registry: Registry) -> None:
    learner, size = digits_learner(registry, 8), 4
    stage, twin = learner.stage, learner.clone("test")
    torch.randperm(
        len(stage.train), generator=twin.generator
    )  # what batch normalization would be measured on
    count = stage.num_new // size
    order = torch.randperm(stage.num_new, generator=twin.generator)[: count * size]
    new = stage.train[len(stage.train) - stage.num_new :].take(order)
    gradients, losses = [], []
    for x, y in new.batches(size):
        gradients.append(gradient(learner, x, y))
        losses.append(float(nn.functional.cross_entropy(learner.model(x).detach(), y)))
    g = sum(gradients) / count
    mean_square = sum(float(one.square().sum()) for one in gradients) / count
    strength = float(g.square().sum())  # type: ignore[union-attr]
    spread = sum(float((one - g).square().sum()) for one in gradients) / (count - 1)
    values = measure(registry, "optimization_readiness", learner, batch_size=size)
    assert values["readiness"] == pytest.approx(strength**2 / (sum(losses) / count * mean_square), rel=1e-4)
    assert values["noise_scale"] == pytest.approx(size * spread / strength, rel=1e-3)


# sharpness


def dense_hessian(learner: Learner) -> Tensor:
    """Return the Hessian of the mean loss on the stage's training data."""
    (x, y), weights = next(learner.stage.train.batches(10_000)), list(learner.model.parameters())
    loss = nn.functional.cross_entropy(learner.model(x), y)
    first = torch.autograd.grad(loss, weights, create_graph=True)
    vector = torch.cat([g.flatten() for g in first])
    rows = [torch.autograd.grad(one, weights, retain_graph=True, materialize_grads=True) for one in vector]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def test_sharpness_of_softmax_regression_is_known(registry: Registry) -> None:
    """At weights of 0 the Hessian is (I/C - 1 1^T/C^2) times the second moments of (x, 1)."""
    data = one_hot_images(list(range(16)), [0] * 16)
    x = torch.cat([torch.eye(16), torch.ones(16, 1)], 1)
    top = float(torch.linalg.eigvalsh(x.T @ x / 16)[-1]) / CLASSES
    values = measure(registry, "sharpness", learner_on(registry, data, (16,)), tolerance=1e-5)
    assert values["top_eigenvalue"] == pytest.approx(top, rel=1e-3)
    assert 2 <= values["products"] <= 100


@pytest.mark.heavy
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(registry: Registry, scale: float) -> None:
    """Small weights are a saddle, whose negative eigenvalues are nearly as large as its positive ones."""
    learner = learner_on(
        registry, one_hot_images([0, 1, 2, 0, 1, 2, 3, 3], [0, 1, 2, 3, 4, 5, 6, 7]), (8,), 1, zero=False
    )
    with torch.no_grad():
        for weight in learner.model.parameters():
            weight.mul_(scale)
    values = measure(registry, "sharpness", learner, tolerance=1e-6, max_products=2000)
    top = float(torch.linalg.eigvalsh(dense_hessian(learner))[-1])
    assert values["top_eigenvalue"] == pytest.approx(top, rel=1e-2)


# trainability


@pytest.mark.parametrize("labels", ["true", "shuffled"])
def test_improvement_is_that_of_plain_gradient_descent(registry: Registry, labels: str) -> None:
    recipe = {"momentum": 0.0, "learning_rate": 0.5}
    learner = learner_on(registry, one_hot_images([3] * 6, [1] * 6), (6,), recipe=recipe)
    w, b = torch.zeros(CLASSES, PIXELS), torch.zeros(CLASSES)
    x, losses = torch.eye(PIXELS)[3], []
    for _ in range(6):
        p = (w @ x + b).softmax(0)
        losses.append(-math.log(p[1]))
        error = p - torch.eye(CLASSES)[1]
        w, b = w - 0.5 * torch.outer(error, x), b - 0.5 * error
    values = measure(registry, "trainability", learner, steps=5, labels=labels)
    assert values["improvement"] == pytest.approx(sum(losses[0] - k for k in losses[1:]) / 5, rel=1e-4)
    assert values["first_loss"] == pytest.approx(LOSS_AT_0)
    assert values["ratio"] == pytest.approx(values["improvement"] / values["control"])


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam"])
def test_a_fresh_network_improves_as_much_as_its_control(registry: Registry, optimizer: str) -> None:
    learner = digits_learner(registry, 8, recipe={"optimizer": optimizer, "learning_rate": 0.01})
    learner.restart()
    values = measure(registry, "trainability", learner, steps=20)
    assert values["improvement"] == values["control"] > 0.1


# dead_units, dormant_units


class Relu(nn.Module):
    """One layer of six units whose activations on one-hot images are given, as its weights."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(PIXELS, len(weights), bias=False), nn.Linear(len(weights), CLASSES)
        with torch.no_grad():
            self.fc1.weight.zero_()[:, : weights.shape[1]] = weights

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x.flatten(1)).relu())  # type: ignore[no-any-return]


def relu_learner(registry: Registry, weights: Tensor) -> Learner:
    learner = learner_on(
        registry, one_hot_images(list(range(weights.shape[1])), [0] * weights.shape[1]), (1,)
    )
    learner.model = Relu(weights)
    learner.reset_optimizer()
    return learner


def test_shares_of_dead_and_rarely_active_units_are_those_given(registry: Registry) -> None:
    weights = torch.full((8, 256 // 4), -1.0)  # of 64 images
    weights[0, :], weights[1, :32], weights[2, 0] = 1.0, 0.5, 3.0
    values = measure(registry, "dead_units", relu_learner(registry, weights))
    assert values["dead"] == 5 / 8
    assert values["rarely_active"] == values["rarely_active[fc1]"] == 5 / 8  # one image of 64 is 1.6 %
    few = one_hot_images([0, *[1] * 199], [0] * 200)
    learner = relu_learner(registry, weights)
    learner.begin_stage(Stage(0, few, (200,), None, None))
    values = measure(registry, "dead_units", learner)
    assert (values["dead"], values["rarely_active"]) == (5 / 8, 6 / 8)


def test_shares_of_dormant_units_are_those_of_scores_given(registry: Registry) -> None:
    """Mean activations of 0, 0.05, 0.2, 1, and 6 units so large that the mean of all ten is 10."""
    sizes = torch.tensor([0.0, 0.05, 0.2, 1.0, *[(100 - 1.25) / 6] * 6])
    weights = torch.zeros(10, 4)
    weights[:, 0] = 4 * sizes  # one of four images makes all of it
    values = measure(registry, "dormant_units", relu_learner(registry, weights))
    assert [values[name] for name in ("tau_0", "tau_0_01", "tau_0_025", "tau_0_1")] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4]
    )
    assert values["tau_0_025[fc1]"] == pytest.approx(0.3)


def test_a_layer_of_zeros_is_dormant_and_dead(registry: Registry) -> None:
    learner = relu_learner(registry, torch.zeros(5, 3))
    assert measure(registry, "dormant_units", learner)["tau_0"] == 1.0
    assert measure(registry, "dead_units", learner)["dead"] == 1.0


@pytest.mark.parametrize("model", ["small_resnet", "mlp_bn"])
def test_an_injected_dead_unit_is_counted_after_normalization(registry: Registry, model: str) -> None:
    """Batch normalization revives a layer of zeros, so its bias must be negative, too."""
    learner = Learner(small_digits(registry, model), Method(), 0, get_device("cpu"))
    learner.begin_stage(next(iter(learner.task.stream(0, data_context()))))
    before = measure(registry, "dead_units", learner)
    layers = learner.hidden_units()
    total, units = sum(map(len, layers)), layers[0]
    with torch.no_grad():
        norm = units.norms[0].module
        norm.weight[0], norm.bias[0] = 0.0, -1.0
    after = measure(registry, "dead_units", learner)
    assert after["dead"] - before["dead"] == pytest.approx(1 / total, abs=1e-6)
    assert after[f"rarely_active[{units.name}]"] > before[f"rarely_active[{units.name}]"]
    assert measure(registry, "dormant_units", learner)["tau_0"] == pytest.approx(after["dead"])
