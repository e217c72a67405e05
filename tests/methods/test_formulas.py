"""Each remedy against a plain transcription of its published equation, element by element."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Stage, Task
from plastibench.testing.run_trace import data_context
from plastibench.training.learner import Learner

Make = Callable[..., tuple[Any, Learner]]


@pytest.fixture(params=["small_resnet", "mlp_bn"])
def make(request: pytest.FixtureRequest, registry: Registry) -> Make:
    """Return a maker of a method with a learner that stands before its third stage, with momentum."""
    task = small_digits(registry, model=request.param)

    def made(name: str, **settings: Any) -> tuple[Any, Learner]:
        method = registry.load("method", name)(**settings)
        return method, at_third_stage(task, method)

    return made


def at_third_stage(task: Task, method: Method) -> Learner:
    learner = Learner(task, method, 0, get_device("cpu"))
    stages = list(task.stream(0, data_context()))
    learner.begin_stage(stages[0])
    with torch.no_grad():
        method.start(learner)
        for parameter in learner.model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    for x, y in stages[0].train.batches(16):
        learner.optimizer.zero_grad()
        learner.loss(learner.model(x), y).backward()
        learner.optimizer.step()
    learner.begin_stage(stages[2])
    return learner


def before_stage(method: Method, learner: Learner) -> None:
    with torch.no_grad():
        method.before_stage(learner)


def chunks(stage: Stage) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the whole chunks, oldest first, straight from the pixels."""
    data: Any = stage.train
    start = 0
    for size in stage.chunks:
        part = slice(start, start + size)
        yield (data.x[part].float() / 255 - data.mean) / data.std, data.y[part]
        start += size


def dash_by_the_paper(model: nn.Module, stage: Stage, floor: float, alpha: float) -> dict[str, Tensor]:
    """Algorithm 1 of arXiv 2410.23495, one weight vector at a time, in Python."""
    shrunk = {name: value.clone() for name, value in model.state_dict().items()}
    average: dict[str, Tensor] = {}
    for x, y in chunks(stage):
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            average[name] = (1 - alpha) * average.get(name, 0) + alpha * parameter.grad

    def factor(weight: Tensor, gradient: Tensor) -> float:
        dot: float = sum(
            -g * w for g, w in zip(gradient.flatten().tolist(), weight.flatten().tolist(), strict=True)
        )
        size = math.dist(weight.flatten().tolist(), [0] * weight.numel())
        steep = math.dist(gradient.flatten().tolist(), [0] * weight.numel())
        return min(1.0, max(floor, dot / (max(size, 1e-8) * max(steep, 1e-8))))

    for module_name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)):
            continue
        name = f"{module_name}.weight"
        for out in range(len(module.weight)):
            if isinstance(module, nn.Linear):
                shrunk[name][out] *= factor(module.weight[out], average[name][out])
                continue
            for inside in range(module.weight.shape[1]):
                shrunk[name][out, inside] *= factor(module.weight[out, inside], average[name][out, inside])
        if module.bias is not None:
            name = f"{module_name}.bias"
            shrunk[name] *= factor(module.bias, average[name])
    return shrunk


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_dash_is_algorithm_1(make: Make, mode: str) -> None:
    method, learner = make("dash", gradient_mode=mode, floor=0.2, momentum=0.4)
    model = copy.deepcopy(learner.model).train(mode == "train")
    kept = {name: value.clone() for name, value in learner.model.state_dict().items()}
    expected = dash_by_the_paper(model, learner.stage, 0.2, 0.4)
    before_stage(method, learner)
    found = learner.model.state_dict()
    touched = {name for name, value in found.items() if not torch.equal(value, kept[name])}
    assert touched == {n for n, v in expected.items() if not torch.equal(v, kept[n])} - {
        n for n in expected if "running" in n or "num_batches" in n
    }
    for name in touched:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-7)
    # The two modes must differ, or this test could not tell them apart.
    other = copy.deepcopy(model).train(mode != "train")
    assert any(
        not torch.allclose(v, expected[n], rtol=1e-5)
        for n, v in dash_by_the_paper(other, learner.stage, 0.2, 0.4).items()
    )


def test_dash_leaves_norms_and_momentum_alone(make: Make) -> None:
    method, learner = make("dash")
    norms = {n: v.clone() for n, v in learner.model.named_buffers()}
    momentum = [copy.deepcopy(s["momentum_buffer"]) for s in learner.optimizer.state.values()]
    before_stage(method, learner)
    assert all(torch.equal(v, norms[n]) for n, v in learner.model.named_buffers())
    assert all(
        torch.equal(s["momentum_buffer"], m)
        for s, m in zip(learner.optimizer.state.values(), momentum, strict=True)
    )


def test_dash_in_micro_batches_is_the_same_to_rounding(make: Make) -> None:
    whole, one = make("dash")
    parts, other = make("dash", micro_batch=7)
    before_stage(whole, one)
    before_stage(parts, other)
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert one.cost.remedy_passes == other.cost.remedy_passes == sum(one.stage.chunks)


def test_dash_refuses_micro_batches_that_would_change_batch_norm(registry: Registry) -> None:
    with pytest.raises(ValueError, match="micro_batch=7 is not allowed with gradient_mode=train"):
        registry.load("method", "dash")(gradient_mode="train", micro_batch=7)


def test_dash_gives_a_1x1_kernel_one_or_the_floor(registry: Registry) -> None:
    dash = registry.load("method", "dash")(floor=0.3)
    weight, gradient = torch.randn(5, 4, 1, 1), torch.randn(5, 4, 1, 1)
    expected = torch.where(weight * gradient < 0, 1.0, 0.3)
    torch.testing.assert_close(dash.factors(weight, gradient), expected)


def test_dash_shrinks_to_the_floor_where_there_is_no_gradient(registry: Registry) -> None:
    dash = registry.load("method", "dash")(floor=0.3)
    assert torch.equal(dash.factors(torch.randn(3, 2), torch.zeros(3, 2)), torch.full((3, 1), 0.3))


def test_shrink_perturb_of_ash_and_adams(make: Make) -> None:
    method, learner = make("shrink_perturb", shrink=0.4, noise=0.1)
    _, twin = make("shrink_perturb")
    fresh = list(twin.fresh_model().parameters())
    expected = [0.4 * w.detach() + 0.1 * f for w, f in zip(learner.model.parameters(), fresh, strict=True)]
    before_stage(method, learner)
    for found, wanted in zip(learner.model.parameters(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)


def test_shrink_perturb_of_the_dash_code(make: Make) -> None:
    method, learner = make("shrink_perturb", **preset("shrink_perturb", "dash_2024"))
    before = {name: value.detach().clone() for name, value in learner.model.named_parameters()}
    before_stage(method, learner)
    norms = {
        f"{n}.{k}"
        for n, m in learner.model.named_modules()
        if "Norm" in type(m).__name__
        for k in ("weight", "bias")
    }
    noise = []
    for name, value in learner.model.named_parameters():
        if name in norms:
            assert torch.equal(value, before[name])
        else:
            noise.append((value.detach() - 0.3 * before[name]).flatten())
    drawn = torch.cat(noise)
    assert abs(float(drawn.std()) - 0.01) < 0.01 * 4 / math.sqrt(len(drawn))
    assert abs(float(drawn.mean())) < 0.01 * 4 / math.sqrt(len(drawn))


def test_shrink_perturb_toward_the_initial_weights(make: Make) -> None:
    method, learner = make("shrink_perturb", source="initial", shrink=0.2, noise=0.8)
    expected = [
        0.2 * w.detach() + 0.8 * i for w, i in zip(learner.model.parameters(), method.initial, strict=True)
    ]
    before_stage(method, learner)
    for found, wanted in zip(learner.model.parameters(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)


def preset(method: str, name: str) -> dict[str, Any]:
    return dict(Registry().load("method", method).presets[name])


def apart(a: Any, b: Any) -> float:
    return math.dist(a.flatten().tolist(), b.flatten().tolist())


def penalty(model: nn.Module, first: nn.Module, form: str) -> float:
    """The forms in circulation, parameter by parameter."""
    if form == "square_of_sums":
        pairs: list[tuple[Any, Any]] = [
            (m.weight, f.weight)
            for m, f in zip(model.modules(), first.modules(), strict=True)
            if hasattr(m, "weight") and m.weight is not None
        ]
        return sum(apart(a, b) for a, b in pairs) ** 2
    modules = list(zip(model.modules(), first.modules(), strict=True))
    if form == "half_sum_of_squares":
        modules = [(m, f) for m, f in modules if isinstance(m, (nn.Linear, nn.Conv2d))]
    pairs = [
        (a, b)
        for m, f in modules
        for a, b in zip(m.parameters(recurse=False), f.parameters(recurse=False), strict=True)
    ]
    total = sum(apart(a, b) ** 2 for a, b in pairs)
    return total / 2 if form == "half_sum_of_squares" else total


@pytest.mark.parametrize("name", ["", "kumar_2023", "dash_2024"])
def test_l2_init_is_its_published_form(make: Make, name: str) -> None:
    settings = preset("l2_init", name) if name else {}
    method, learner = make("l2_init", **{**settings, "strength": 0.05})
    _, twin = make("l2_init")
    first = Learner(twin.task, method, 0, get_device("cpu")).model
    term = method.loss_term(learner, torch.zeros(1), torch.zeros(1))
    assert float(term.detach()) == pytest.approx(0.05 * penalty(learner.model, first, method.form), rel=1e-4)
    assert term.requires_grad


def test_l2_init_has_a_gradient_of_zero_at_the_initial_weights(make: Make) -> None:
    for form in ("sum_of_squares", "square_of_sums"):
        method, learner = make("l2_init", form=form)
        learner.model.load_state_dict(Learner(learner.task, method, 0, get_device("cpu")).model.state_dict())
        learner.model.zero_grad()
        method.loss_term(learner, torch.zeros(1), torch.zeros(1)).backward()
        assert all(torch.count_nonzero(p.grad) == 0 for p in learner.model.parameters() if p.grad is not None)


def test_cold_start_draws_other_weights_at_every_stage(make: Make) -> None:
    method, learner = make("cold")
    first = Learner(learner.task, method, 0, get_device("cpu")).model
    before_stage(method, learner)
    assert not torch.equal(next(learner.model.parameters()), next(first.parameters()))
    assert len(learner.optimizer.state) == 0


@pytest.mark.parametrize("initializer", ["model", "torch"])
def test_head_reset_redraws_the_last_layer_alone(make: Make, initializer: str) -> None:
    method, learner = make("head_reset", initializer=initializer, optimizer_state="clear_touched")
    head = [m for m in learner.model.modules() if isinstance(m, nn.Linear)][-1]
    before = {name: value.detach().clone() for name, value in learner.model.named_parameters()}
    before_stage(method, learner)
    changed = [n for n, v in learner.model.named_parameters() if not torch.equal(v, before[n])]
    own = [n for n, v in learner.model.named_parameters() if any(v is p for p in head.parameters())]
    assert sorted(changed) == sorted(own)
    bound = 1 / math.sqrt(head.in_features)
    assert float(head.weight.detach().abs().max()) <= bound
    momenta = {n: learner.optimizer.state[v]["momentum_buffer"] for n, v in learner.model.named_parameters()}
    assert sorted(n for n, momentum in momenta.items() if not momentum.any()) == sorted(own)


def test_head_reset_refuses_more_layers_than_there_are(registry: Registry) -> None:
    reset = registry.load("method", "head_reset")(layers=99)
    assert "layers=99, but the model has" in (reset.unsupported(small_digits(registry)) or "")
