"""Remedies that recycle units or weights, against plain transcriptions: unit by unit, in Python."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.devices import get_device
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import Task
from plastibench.testing.run_trace import data_context, trace_run
from plastibench.training.learner import Learner
from plastibench.training.step import TrainStep

UNITS = {
    "mlp_bn": [("1", "2", "3", "4"), ("4", "5", "6", "7")],
    "small_resnet": [(f"{n}.conv1", f"{n}.norm1", f"{n}.activation1", f"{n}.conv2") for n in (3, 4, 5)],
}
"""Of each layer: its name, that of its norm, of its activation, and of the layer that it feeds."""


class Twins:
    """Two learners of one seed: one is trained with a method, the other without, for a transcription."""

    def __init__(self, task: Task, method: Method) -> None:
        self.method = method
        stage = next(iter(task.stream(0, data_context())))
        self.real, self.plain = (Learner(task, m, 0, get_device("cpu")) for m in (method, Method()))
        for learner in (self.real, self.plain):
            learner.begin_stage(stage)
        with torch.no_grad():
            method.start(self.real)
        self.activations: dict[str, Tensor] = {}
        for name, module in self.plain.model.named_modules():
            module.register_forward_hook(
                lambda _, __, out, name=name: self.activations.update({name: out.detach().clone()})
            )
        self._steps = TrainStep(self.real, method), TrainStep(self.plain, Method())

    def steps(self, number: int) -> Iterator[None]:
        """Take steps with both, and yield after each one, when the transcription is due."""
        batches = list(self.plain.stage.train.batches(16))
        for index in range(number):
            for step in self._steps:
                step(*batches[index % len(batches)])
            with torch.no_grad():
                yield

    def assert_equal(self, rtol: float = 0.0, atol: float = 0.0) -> None:
        plain = self.plain.model.state_dict()
        for name, value in self.real.model.state_dict().items():
            torch.testing.assert_close(value, plain[name], rtol=rtol, atol=atol, msg=name)
        named = dict(self.plain.model.named_parameters())
        for name, parameter in self.real.model.named_parameters():
            states = (self.real.optimizer.state[parameter], self.plain.optimizer.state[named[name]])
            for key in states[0]:
                torch.testing.assert_close(states[0][key], states[1][key], rtol=rtol, atol=atol, msg=name)


def recycle(learner: Learner, fresh: nn.Module, chosen: Sequence[tuple[tuple[str, ...], int, int]]) -> None:
    """Recycle units (names, unit, unit whose new weights it gets), incoming weights first."""
    modules, new = (dict[str, Any](model.named_modules()) for model in (learner.model, fresh))

    def reset(parameter: Any, index: Any, value: Any) -> None:
        if parameter is not None:
            parameter[index] = value
            for state in learner.optimizer.state[parameter].values():
                if state is not None and state.dim():
                    state[index] = 0

    for (layer, norm, _, _), unit, source in chosen:
        reset(modules[layer].weight, unit, new[layer].weight[source])
        reset(modules[layer].bias, unit, 0.0)
        reset(modules[norm].weight, unit, 1.0)
        reset(modules[norm].bias, unit, 0.0)
        modules[norm].running_mean[unit] = 0.0
        modules[norm].running_var[unit] = 1.0
    for (_, _, _, fed), unit, _ in chosen:
        reset(modules[fed].weight, (slice(None), unit), 0.0)


def mean_activity(h: Tensor) -> list[float]:
    """Return the mean |h| of each unit over batch and positions."""
    return [sum(map(abs, unit.flatten().tolist())) / unit.numel() for unit in h.unbind(1)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("model", UNITS)
def test_redo_is_the_papers(registry: Registry, model: str, optimizer: str) -> None:
    task = small_digits(registry, model, recipe={"batch_size": 16, "optimizer": optimizer})
    twins = Twins(task, registry.load("method", "redo")(threshold=0.95, period=2))
    recycled = 0
    for index, _ in enumerate(twins.steps(6)):
        if index % 2 == 0:
            continue
        chosen = []
        for names in UNITS[model]:
            activity = mean_activity(twins.activations[names[2]])
            mean = sum(activity) / len(activity)
            chosen += [(names, i, i) for i, a in enumerate(activity) if a / (mean + 1e-9) <= 0.95]
        recycled += len(chosen)
        if chosen:
            recycle(twins.plain, twins.plain.fresh_model(), chosen)
        twins.assert_equal()
        assert twins.real.logged() == {"log.units_recycled": recycled}
    assert recycled > 3


def dead_units(learner: Learner) -> int:
    """Return how many units of a perceptron are 0 for all of 100 images, normalized by these images."""
    model: Any = copy.deepcopy(learner.model).train()
    with torch.no_grad():
        x = next(iter(learner.stage.train.batches(100)))[0]
        return sum(int((model[:n](x).amax(0) <= 0).sum()) for n in (4, 7))


def with_dead_units(learner: Learner) -> None:
    """Let half of the units of each layer never fire, whatever the weights of the layer."""
    with torch.no_grad():
        for norm in ("2", "5"):
            learner.model.get_parameter(f"{norm}.bias")[::2] = -100.0


def test_redo_revives_dead_units_which_a_warm_start_does_not(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"batch_size": 16})
    twins = Twins(task, registry.load("method", "redo")(threshold=0.0, period=5))
    for learner in (twins.real, twins.plain):
        with_dead_units(learner)
        assert dead_units(learner) == 24
    for _ in twins.steps(9):
        pass
    assert dead_units(twins.plain) >= 24
    assert dead_units(twins.real) <= 2
    assert twins.real.logged()["log.units_recycled"] == 24


def test_redo_of_silent_units_changes_no_output(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"batch_size": 16, "learning_rate": 1e-9})
    method = registry.load("method", "redo")(threshold=0.0, period=1)
    twins = Twins(task, method)
    for learner in (twins.real, twins.plain):
        with_dead_units(learner)
    next(twins.steps(1))
    assert not torch.equal(
        twins.real.model.get_parameter("1.weight"), twins.plain.model.get_parameter("1.weight")
    )
    x = next(iter(twins.plain.stage.train.batches(16)))[0]
    a, b = (learner.model(x) for learner in (twins.real, twins.plain))
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_redo_watches_no_step_but_those_that_it_checks(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"batch_size": 16})
    twins, watched = Twins(task, registry.load("method", "redo")(period=3)), []
    for _ in twins.steps(7):
        watched.append(twins.real.watching)
    assert watched == [False, True, False, False, True, False, False]


def by_the_algorithm(twins: Twins, state: list[dict[str, Any]], rate: float, maturity: int) -> list[Any]:
    """Update the state of continual backprop by one step; return the units to recycle, in their order."""
    modules, chosen = dict[str, Any](twins.plain.model.named_modules()), []
    for names, layer in zip(state[0]["names"], state, strict=True):
        h, fed = twins.activations[names[2]], modules[names[3]]
        count = h.shape[1]
        for i, activity in enumerate(mean_activity(h)):
            outgoing = sum(map(abs, fed.weight[:, i].flatten().tolist()))
            layer["age"][i] += 1
            layer["u"][i] = 0.5 * layer["u"][i] + 0.5 * activity * outgoing
            layer["m"][i] = 0.5 * layer["m"][i] + 0.5 * float(h[:, i].mean())
        mature = [i for i in range(count) if layer["age"][i] > maturity]
        layer["due"] += rate * len(mature)
        uses = layer["uses"]
        while layer["due"] > 1 and mature:
            worst = min(mature, key=lambda i: layer["u"][i] / (1 - 0.5 ** layer["age"][i]))
            mean = layer["m"][worst] / (1 - 0.5 ** layer["age"][worst])
            if fed.bias is not None:
                fed.bias += (
                    fed.weight[:, worst].flatten(1).sum(1) * mean
                    if fed.weight.dim() > 2
                    else fed.weight[:, worst] * mean
                )
            mature.remove(worst)
            layer["u"][worst] = layer["m"][worst] = layer["age"][worst] = 0
            layer["due"] -= 1
            layer["uses"] += 1
            chosen.append((names, worst, (worst + uses) % count))
    return chosen


# With Adam the bias before a perceptron's batch normalization would not do: it divides rounding by its size.
@pytest.mark.parametrize(
    ("model", "optimizer"), [("mlp_bn", "sgd"), ("small_resnet", "sgd"), ("small_resnet", "adam")]
)
def test_continual_backprop_is_the_papers(registry: Registry, model: str, optimizer: str) -> None:
    task = small_digits(registry, model, recipe={"batch_size": 16, "optimizer": optimizer})
    twins = Twins(task, registry.load("method", "continual_backprop")(rate=0.06, maturity=3, decay=0.5))
    fresh = twins.plain.fresh_model()
    state: list[dict[str, Any]] = []
    for names in UNITS[model]:
        count = len(dict(fresh.named_modules())[names[0]].weight)
        zeros = {name: [0.0] * count for name in ("u", "m", "age")}
        state.append({**zeros, "due": 0.0, "uses": 0, "names": UNITS[model]})
    recycled = 0
    for _ in twins.steps(14):
        chosen = by_the_algorithm(twins, state, 0.06, 3)
        recycle(twins.plain, fresh, chosen)
        recycled += len(chosen)
    assert recycled >= 6
    assert twins.real.logged() == {"log.units_recycled": recycled}
    twins.assert_equal(rtol=1e-4, atol=1e-5)


def test_continual_backprop_recycles_units_of_no_use(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"batch_size": 16})
    twins = Twins(task, registry.load("method", "continual_backprop")(rate=0.5, maturity=2))
    for learner in (twins.real, twins.plain):
        with_dead_units(learner)
    for _ in twins.steps(6):
        pass
    assert dead_units(twins.plain) >= 24
    assert dead_units(twins.real) <= 4


@pytest.mark.heavy
def test_continual_backprop_recycles_the_published_share(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"batch_size": 16, "max_epochs": 20})
    results = trace_run(task, registry.load("method", "continual_backprop")(rate=2e-3, maturity=10)).results
    steps = sum(result.cost.steps for result in results)
    found = sum(result.logged["log.units_recycled"] or 0.0 for result in results)
    expected = 2 * 24 * 2e-3 * (steps - 10)
    assert expected > 5
    assert math.isclose(found, expected, rel_tol=0.35)


def silent_by_the_algorithm(
    h: Tensor, state: dict[str, Any], *, reject: float, lengths: list[float], update: bool
) -> list[int]:
    """Update the pauses of self-normalized resets by one batch; return the units to recycle."""
    silent = []
    for i in range(h.shape[1]):
        if max(h[:, i].flatten().tolist()) > 1.4:
            state["ended"][i].append(state["pause"][i])
            state["pause"][i] = 0
        else:
            state["pause"][i] += len(h)
        if update and state["ended"][i]:
            ended = sorted(state["ended"][i])
            quantile = ended[math.ceil((1 - reject) * len(ended) - 1e-9) - 1]
            quantile = min(length for length in lengths if length >= quantile - 1e-3)
            tau = quantile if quantile < state["tau"][i] else 2 * state["tau"][i]
            state["tau"][i] = min(max(tau, lengths[1]), lengths[-1])
        if update:
            state["ended"][i] = []
        if state["pause"][i] >= state["tau"][i]:
            silent.append(i)
            state["pause"][i] = 0
    return silent


@pytest.mark.parametrize("model", UNITS)
def test_self_normalized_resets_are_the_papers(registry: Registry, model: str) -> None:
    task = small_digits(registry, model, recipe={"batch_size": 16})
    settings = {"reject": 0.25, "update_period": 4, "max_pause": 100, "firing": 1.4}
    twins = Twins(task, registry.load("method", "self_normalized_resets")(**settings))
    lengths = [0.0, *(16 * (100 / 16) ** (j / 30) for j in range(31))]
    fresh, recycled = twins.plain.fresh_model(), 0
    states: list[dict[str, Any]] = [
        {"pause": [0] * 99, "tau": [100.0] * 99, "ended": [[] for _ in range(99)], "uses": 0}
        for _ in UNITS[model]
    ]
    taus, doubled = set(), 0
    for index, _ in enumerate(twins.steps(24)):
        chosen = []
        for names, state in zip(UNITS[model], states, strict=True):
            h, before = twins.activations[names[2]], list(state["tau"])
            silent = silent_by_the_algorithm(h, state, reject=0.25, lengths=lengths, update=index % 4 == 3)
            chosen += [(names, i, (i + state["uses"]) % h.shape[1]) for i in silent]
            state["uses"] += len(silent)
            taus |= {tau for tau in state["tau"] if tau not in (16.0, 100.0)}
            doubled += sum(new > old for new, old in zip(state["tau"], before, strict=True))
        recycle(twins.plain, fresh, chosen)
        recycled += len(chosen)
        assert twins.real.logged() == {"log.units_recycled": recycled}
    twins.assert_equal()
    assert recycled >= 2
    assert doubled, "no tau was doubled"
    real: Any = twins.method
    for layer, state in zip(real.layers, states, strict=True):
        expected = torch.tensor(state["tau"][: len(layer["tau"])])
        torch.testing.assert_close(layer["tau"], expected, rtol=1e-5, atol=0)
    assert taus, "no tau between the smallest and the largest one was reached"


def test_self_normalized_resets_revive_dead_units(registry: Registry) -> None:
    task = small_digits(registry, "mlp_bn", recipe={"batch_size": 16})
    twins = Twins(task, registry.load("method", "self_normalized_resets")(max_pause=64, update_period=2))
    for learner in (twins.real, twins.plain):
        with_dead_units(learner)
    for _ in twins.steps(8):
        pass
    assert dead_units(twins.plain) >= 24
    assert dead_units(twins.real) <= 2


def least_used(
    weight: Tensor, gradient: Tensor, *, share: float, rule: str, utility: str, draw: float
) -> list[int]:
    values = [abs(w) for w in weight.flatten().tolist()]
    if utility == "gradient":
        values = [v * abs(g) for v, g in zip(values, gradient.flatten().tolist(), strict=True)]
    if rule == "threshold":
        return [i for i, v in enumerate(values) if v <= share * sum(values) / len(values)]
    return sorted(range(len(values)), key=values.__getitem__)[: math.floor(share * len(values) + draw)]


@pytest.mark.parametrize("utility", ["gradient", "magnitude"])
@pytest.mark.parametrize("rule", ["threshold", "fraction"])
def test_selective_reinitialization_is_the_papers(registry: Registry, rule: str, utility: str) -> None:
    task = small_digits(registry, recipe={"batch_size": 16})
    settings = {"share": 0.1, "period": 2, "rule": rule, "utility": utility}
    twins, recycled = Twins(task, registry.load("method", "selective_reinit")(**settings)), 0
    for index, _ in enumerate(twins.steps(4)):
        if index % 2:
            fresh = dict(twins.plain.fresh_model().named_parameters())
            for name, weight in twins.plain.model.named_parameters():
                assert weight.grad is not None
                draw = float(torch.rand((), generator=twins.plain.generator)) if rule == "fraction" else 0.0
                for i in least_used(weight, weight.grad, share=0.1, rule=rule, utility=utility, draw=draw):
                    weight.flatten()[i] = fresh[name].flatten()[i]
                    recycled += 1
        twins.assert_equal()
        assert twins.real.logged() == {"log.weights_recycled": recycled}
    assert recycled > 100


def test_a_share_of_a_weight_is_drawn_again_at_random(registry: Registry) -> None:
    """Of 4 biases a tenth is drawn again: one in some draws, none in others, 0.4 on average."""
    method = registry.load("method", "selective_reinit")(share=0.1, rule="fraction")
    stream, bias = torch.Generator().manual_seed(0), torch.arange(1.0, 5.0)
    bias.grad = torch.ones(4)
    found = [int(method._least_used(bias, stream).sum()) for _ in range(300)]
    assert set(found) == {0, 1}
    assert math.isclose(sum(found) / 300, 0.4, abs_tol=0.1)
