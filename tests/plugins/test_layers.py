"""The list of a model's weights: each one once, trained ones only, of every kind of layer."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.zoo import PARAMETRIZED, PLAIN, Attention, zoo_task
from torch import nn

from plastibench.errors import RequestError
from plastibench.plugins.layers import parameters_in, untouched_parameters, weight_layers
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.testing import laws
from plastibench.testing.run_trace import data_context
from plastibench.training import protocol
from plastibench.training.learner import Learner

NOT_IN_LAYERS = {
    "attention": ["norm.weight", "norm.bias", "token", "positions"],
    "conv3d": ["2.weight", "2.bias"],
    "transposed": ["1.weight", "1.bias"],
}
FROZEN = {"frozen": ["fixed.weight", "fixed.bias", "norm.weight", "norm.bias", "body.bias"]}


def names(model: nn.Module, parameters: list[nn.Parameter]) -> list[str]:
    found = {parameter: name for name, parameter in model.named_parameters()}
    return [found[parameter] for parameter in parameters]


@pytest.mark.parametrize("name", PLAIN)
def test_every_trained_parameter_is_listed_once(name: str) -> None:
    model = PLAIN[name]()
    trained = [n for n, _ in model.named_parameters() if n not in FROZEN.get(name, [])]
    layers = [n for n in trained if n not in NOT_IN_LAYERS.get(name, [])]
    assert sorted(names(model, parameters_in(model, "all"))) == sorted(trained)
    assert sorted(names(model, parameters_in(model, "layers"))) == sorted(layers)
    weights = names(model, parameters_in(model, "module_weights"))
    assert sorted(weights) == sorted(n for n in trained if "weight" in n)
    own = [p for layer in weight_layers(model) for p in layer.parameters(recurse=False)]
    assert {n for n in names(model, own) if n in trained} == set(layers)


def test_a_layer_whose_weight_is_that_of_another_is_not_listed_again() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False), nn.Linear(3, 2))
    model[1].weight = model[0].weight
    assert weight_layers(model) == [model[0], model[2]]
    assert len(parameters_in(model, "layers")) == 3


def test_the_head_is_the_last_layer_if_it_is_named() -> None:
    model = PLAIN["head_first"]()
    assert weight_layers(model)[0] is model.head
    assert weight_layers(model, head="head")[-1] is model.head
    with pytest.raises(RequestError, match="no layer of the model named 'haed'; did you mean 'head'"):
        weight_layers(model, head="haed")


def test_what_no_scope_reaches_is_named() -> None:
    model = Attention()
    assert untouched_parameters(model) == []  # nothing has listed its weights
    parameters_in(model, "layers")
    assert untouched_parameters(model) == ["token", "positions"]
    parameters_in(model, "all")
    assert untouched_parameters(model) == []


@pytest.mark.parametrize("model", PARAMETRIZED)
@pytest.mark.parametrize("name", ["dash", "shrink_perturb", "l2_init", "head_reset"])
def test_a_remedy_for_weights_refuses_weights_that_are_computed(
    registry: Registry, name: str, model: str
) -> None:
    task, method = zoo_task(registry, model), registry.load("method", name)()
    with pytest.raises(RequestError, match=r"layer '1' of the model computes its weight"):
        next(protocol.run(task, method, 0, data_context()))


def test_a_head_whose_weight_is_computed_is_not_handed_out(registry: Registry) -> None:
    class ShrinksHead(Method):
        def before_stage(self, learner: Learner) -> None:
            learner.head.weight.mul_(0.5)

    with pytest.raises(RequestError, match=r"layer '1' of the model computes its weight"):
        list(protocol.run(zoo_task(registry, "weight_norm"), ShrinksHead(), 0, data_context()))


@pytest.mark.parametrize("model", PARAMETRIZED)
@pytest.mark.parametrize("name", ["warm", pytest.param("cold", marks=pytest.mark.heavy)])
def test_other_methods_train_weights_that_are_computed(registry: Registry, name: str, model: str) -> None:
    laws.interruption_changes_nothing(zoo_task(registry, model), registry.load("method", name))


@pytest.mark.parametrize("model", PARAMETRIZED)
def test_a_probe_of_weights_refuses_them_before_the_run(registry: Registry, model: str) -> None:
    measures = protocol.Measures(probes={"weight_norm": registry.load("probe", "weight_norm")()})
    run = protocol.run(zoo_task(registry, model), Method(), 0, data_context(), measures=measures)
    with pytest.raises(RequestError, match="WeightNorm cannot run on Digits: layer '1' of the model"):
        next(run)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), "1.weight of the model has no shape yet"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False), "nothing to train"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused(task: object, model: object, message: str) -> None:
    class Builds(Method):
        def build(self, task: object) -> nn.Module:
            return model()  # type: ignore[operator, no-any-return]

    with pytest.raises(RequestError, match=message):
        next(protocol.run(task, Builds(), 0, data_context()))  # type: ignore[arg-type]


@pytest.mark.heavy
def test_a_grid_is_made_without_torchs_compiler() -> None:
    """Its import takes a second, which each command would take longer."""
    code = (
        "import sys\n"
        "from plastibench.workflows.request import Selection\n"
        "from plastibench.runner.workspace import Workspace\n"
        "assert Selection(workspace=Workspace(), tasks=('digits',), methods=('dash', 'head_reset')).specs\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
