"""What only a card can show of methods: the results of the CPU, and the same bits in captured steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.cards import CastsOneByOne, CompilingCuda, EagerCuda
from support.tasks import captured_digits, small_digits
from torch import Tensor

from plastibench.api import distances
from plastibench.devices import Cpu, Cuda, Device, get_device
from plastibench.models.layers.average_pool import AveragePool
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing.run_trace import data_context, equal_weights, trace_run
from plastibench.training.learner import Learner

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _deterministic_cudnn() -> None:
    torch.backends.cudnn.deterministic = True


def at_second_stage(task: Task, method: Method, device: Device) -> Learner:
    """Return a learner with the initial weights of the seed, which all devices share."""
    learner = Learner(task, method, 0, device)
    stages = list(task.stream(0, data_context(device)))
    learner.begin_stage(stages[0])
    with torch.no_grad():
        method.start(learner)
    learner.begin_stage(stages[1])
    return learner


@pytest.mark.parametrize("model", ["small_resnet", "mlp_bn"])
def test_dash_has_the_factors_of_the_cpu(registry: Registry, model: str) -> None:
    task, weights = small_digits(registry, model), []
    for device in (Cpu(), get_device("cuda")):
        method = registry.load("method", "dash")()
        learner = at_second_stage(task, method, device)
        with torch.no_grad():
            method.before_stage(learner)
        weights.append({name: value.cpu() for name, value in learner.model.named_parameters()})
    for name, value in weights[0].items():
        # A factor jumps where a vector is a single number whose gradient is nearly 0.
        close = torch.isclose(value, weights[1][name], rtol=1e-3, atol=1e-5)
        assert close.float().mean() > 0.99, name


@pytest.mark.parametrize("form", ["sum_of_squares", "square_of_sums"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_captured_l2_init_has_the_bits_of_eager_steps(registry: Registry, form: str, precision: str) -> None:
    task = captured_digits(registry, precision=precision)
    method = registry.load("method", "l2_init")(form=form)
    captured, eager = (trace_run(task, method, device=device) for device in (Cuda(), EagerCuda()))
    assert equal_weights(captured.weights, eager.weights)


@pytest.mark.parametrize("form", [lambda norms: norms.square().sum(), lambda norms: norms.sum().square()])
def test_distances_have_the_bits_of_torchs_derivatives(form: Callable[[Tensor], Tensor]) -> None:
    shapes: list[Any] = [(64, 32, 3, 3), (64,), (10, 512), ()]
    origins = [torch.randn(shape, device="cuda") for shape in shapes]
    weights = [(origin + 0.1 * torch.randn_like(origin)).requires_grad_() for origin in origins]
    norms = (
        distances(weights, origins),
        torch.stack(torch._foreach_norm(torch._foreach_sub(weights, origins))),
    )
    found, expected = (torch.autograd.grad(form(each), weights) for each in norms)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "adam"])
def test_weights_cast_together_have_the_bits_of_autocasts(registry: Registry, optimizer: str) -> None:
    task = captured_digits(registry, precision="bf16", optimizer=optimizer)
    together, apart = (trace_run(task, Method(), device=device) for device in (Cuda(), CastsOneByOne()))
    assert equal_weights(together.weights, apart.weights)


def test_a_captured_step_counts_each_batch_once(registry: Registry) -> None:
    task = captured_digits(registry)
    task = replace(task, recipe=replace(task.recipe, optimizer="sam", sam_statistics="first"))
    for device in (CompilingCuda(), Cuda()):
        trace = trace_run(task, Method(), device=device)
        counted = [v for name, v in trace.weights[0].items() if name.endswith("num_batches_tracked")]
        assert {int(number) for number in counted} == {trace.results[0].cost.steps}


@pytest.mark.parametrize("side", [1, 2])
def test_average_pooling_has_a_gradient_where_it_must_be_deterministic(side: int) -> None:
    x = torch.randn(2, 3, side, side, device="cuda", requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        AveragePool(7)(x).square().sum().backward()
        found, x.grad = x.grad, None
    finally:
        torch.use_deterministic_algorithms(False)
    AveragePool(7)(x).square().sum().backward()
    torch.testing.assert_close(found, x.grad)
