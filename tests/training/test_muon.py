"""Muon against a plain transcription, torch's own, and Adam for what is no hidden matrix."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from support.zoo import PLAIN, zoo_task
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe
from plastibench.plugins.registry import Registry
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.learner import Learner
from plastibench.training.muon import hidden_matrices, orthogonalize
from plastibench.training.optimizers import build_optimizer

MUON: dict[str, Any] = {"optimizer": "muon", "momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.02}
Matrix = list[list[float]]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def product(a: Matrix, b: Matrix) -> Matrix:
    return [
        [sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)] for row in a
    ]


def combined(factor: float, a: Matrix, other: float, b: Matrix) -> Matrix:
    rows = zip(a, b, strict=True)
    return [[factor * x + other * y for x, y in zip(one, two, strict=True)] for one, two in rows]


def newton_schulz(matrix: Matrix) -> Matrix:
    """Five iterations X <- a X + (b A + c A A) X with A = X X^T, one number at a time."""
    norm = math.sqrt(sum(value**2 for row in matrix for value in row))
    x = [[value / norm for value in row] for row in matrix]
    for _ in range(5):
        a = product(x, [list(column) for column in zip(*x, strict=True)])
        x = combined(3.4445, x, 1.0, product(combined(-4.7750, a, 2.0315, product(a, a)), x))
    return x


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6)])
def test_the_iteration_is_newton_and_schulz(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    expected = torch.tensor(newton_schulz(matrix.tolist()))
    torch.testing.assert_close(orthogonalize(matrix), expected, rtol=1e-4, atol=1e-5)


def test_its_result_has_singular_values_near_one_and_the_same_singular_vectors() -> None:
    matrix = random(20, 30) @ torch.diag(torch.logspace(0, -2, 30))
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    found = u.T @ orthogonalize(matrix) @ v.T
    assert float(s.min()) < 0.2 * float(s.max())
    assert 0.5 < float(found.diag().min()) <= float(found.diag().max()) < 1.3
    torch.testing.assert_close(found, torch.diag(found.diag()), rtol=0, atol=1e-3)


def steps(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> Tensor:
    """Return a weight after four steps with given gradients."""
    for seed in range(4):
        weight.grad = random(*weight.shape, seed=seed)
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 2, 3, 3)])
def test_a_step_is_the_update_of_its_authors(shape: tuple[int, ...]) -> None:
    weight = nn.Parameter(random(*shape, seed=9))
    expected, buffer = weight.detach().clone(), torch.zeros(shape)
    for seed in range(4):
        gradient = random(*shape, seed=seed)
        buffer = 0.9 * buffer + gradient
        matrix = (gradient + 0.9 * buffer).flatten(1)
        scale = math.sqrt(max(1, matrix.shape[0] / matrix.shape[1]))
        update = scale * torch.tensor(newton_schulz(matrix.tolist())).reshape(shape)
        expected = expected - 0.02 * 0.1 * expected - 0.02 * update
    found = steps(build_optimizer(Recipe(**MUON), [weight], matrices=lambda: {weight}), weight)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_it_is_torchs_muon_to_the_rounding_of_bfloat16(shape: tuple[int, int]) -> None:
    ours, theirs = (nn.Parameter(random(*shape, seed=9)) for _ in range(2))
    muon = torch.optim.Muon([theirs], lr=0.02, momentum=0.9, weight_decay=0.1)
    found = steps(build_optimizer(Recipe(**MUON), [ours], matrices=lambda: {ours}), ours)
    torch.testing.assert_close(found, steps(muon, theirs), rtol=0, atol=0.02 * 0.1)


def test_everything_else_has_adam_at_a_tenth_of_the_rate() -> None:
    ours, theirs = (nn.Parameter(random(6, 4, seed=9)) for _ in range(2))
    adam = torch.optim.AdamW(
        [theirs], lr=0.002, betas=(0.9, 0.95), weight_decay=1.0
    )  # 0.002 * 1 = 0.02 * 0.1
    found = steps(build_optimizer(Recipe(**MUON), [ours]), ours)
    torch.testing.assert_close(found, steps(adam, theirs), rtol=1e-5, atol=1e-6)


HIDDEN = {
    "tied": {"stem.weight", "a.weight", "twice.weight"},
    "frozen": {"body.weight"},
    "head_first": {"body.1.weight"},
    "attention": {"stem.weight", "attention.in_proj_weight", "attention.out_proj.weight"},
    "embedding": {"body.weight"},
    "recurrent": {f"{layer}.weight_{part}" for layer, part in (("lstm", "ih_l0"), ("lstm", "hh_l0"))}
    | {"cell.weight_ih", "cell.weight_hh"},
    "buffers": {"body.weight"},
    "two_parts": {"left.0.weight", "right.0.weight"},
    "conv3d": {"1.weight"},
    "transposed": {"0.weight"},
}


@pytest.mark.parametrize("name", PLAIN)
def test_hidden_matrices_are_neither_head_nor_embedding_nor_frozen(registry: Registry, name: str) -> None:
    task = zoo_task(registry, name, {"optimizer": "muon"})
    learner = Learner(task, Method(), 0, get_device("cpu"))
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    found = hidden_matrices(task.recipe, learner.model, learner.head_name)
    trained = {weight for weight in found if weight.requires_grad}
    assert {key for key, weight in learner.model.named_parameters() if weight in trained} == HIDDEN[name]


def test_an_embedding_that_is_the_heads_weight_is_left_to_adam() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 4), nn.Linear(4, 10))
    model[2].weight = model[0].weight
    recipe = Recipe(optimizer="muon")
    assert hidden_matrices(recipe, model, lambda: "2") == {model[1].weight}
    assert hidden_matrices(Recipe(), model, lambda: "2") == set()


def test_a_hidden_weight_that_is_the_heads_too_is_left_to_adam() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[1].weight
    assert hidden_matrices(Recipe(optimizer="muon"), model, lambda: "2") == {model[0].weight}


def test_each_step_of_a_hidden_matrix_has_the_same_size(registry: Registry) -> None:
    """The size of a gradient does not matter, which is what Muon is for: it moves all directions equally."""
    recipe = {**MUON, "weight_decay": 0.0, "max_steps": 1, "target_accuracy": None}
    task = small_digits(registry, "mlp_bn", recipe)
    start = Learner(task, Method(), 0, get_device("cpu")).model.state_dict()
    after = trace_run(task, Method()).weights[0]
    update = (after["4.weight"] - start["4.weight"]) / 0.02
    singular = torch.linalg.svdvals(update)
    assert 0.5 < float(singular.median()) < 1.3
    head = after["7.weight"] - start["7.weight"]
    torch.testing.assert_close(
        head.abs(), torch.full_like(head, 0.002), rtol=0.1, atol=1e-4
    )  # Adam's first step


def test_a_model_that_replaces_another_has_its_matrices_trained_by_muon(registry: Registry) -> None:
    task = small_digits(registry, recipe=MUON)
    learner, other = (Learner(task, Method(), seed, get_device("cpu")) for seed in (0, 1))
    learner.begin_stage(next(iter(task.stream(0, data_context()))))
    learner.optimizer.param_groups[0]["lr"] = 0.005
    learner.model = other.model
    learner.clear_optimizer_state()
    for parameter in learner.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = [parameter.clone() for parameter in learner.model.parameters()]
    learner.optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, learner.model.parameters(), strict=True))
    matrices = hidden_matrices(task.recipe, learner.model, learner.head_name)
    assert matrices
    assert not [1 for matrix in matrices if "exp_avg" in learner.optimizer.state[matrix]], "left to Adam"
    assert learner.optimizer.param_groups[0]["lr"] == 0.005
