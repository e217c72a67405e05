"""Remedies on models, optimizers and batches that are not ours."""

from __future__ import annotations

import copy
import io
from collections import UserDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from support import zoo
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import plastibench
from plastibench import RequestError
from plastibench.api import Learner, Method

X = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 10, (40,), generator=torch.Generator().manual_seed(1))
BATCHES = list(zip(X.split(16), Y.split(16), strict=True))
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    name: getattr(torch.optim, name)
    for name in (
        "Adadelta",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "ASGD",
        "NAdam",
        "RAdam",
        "RMSprop",
        "Rprop",
    )
}
OPTIMIZERS["SGD"] = lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9)
OPTIMIZERS["plain SGD"] = lambda parameters: torch.optim.SGD(parameters, 0.1)


def make_model() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10))


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1, momentum=0.9)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, remedy: Any = None, steps: int = 3) -> None:
    for x, y in [*BATCHES, *BATCHES][:steps]:
        loss = F.cross_entropy(model(x), y)
        if remedy is not None:
            loss = loss + remedy.loss_term(y=y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(model: nn.Module, before: dict[str, Tensor]) -> list[str]:
    return [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]


@pytest.mark.parametrize("name", zoo.PLAIN)
def test_frozen_and_shared_weights_and_all_other_layers_are_treated_as_they_are(name: str) -> None:
    torch.manual_seed(0)
    model = zoo.PLAIN[name]()
    before, frozen = values(model), {n for n, p in model.named_parameters() if not p.requires_grad}
    done = plastibench.apply("shrink", model, sgd(model), BATCHES, factor=0.5, batch_norm="keep")
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert set(changed(model, before)) == set(done.changed)
    assert not frozen & set(done.changed)
    for n, p in trained.items():
        assert torch.equal(p, 0.5 * before[n]), n  # a weight that two layers share is shrunk once


@pytest.mark.heavy
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_torch_goes_on_after_a_remedy(name: str) -> None:
    torch.manual_seed(0)
    model = make_model()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, optimizer)
    head = model[4].weight
    kept = copy.deepcopy(optimizer.state[model[1].weight])
    plastibench.apply("head_reset", model, optimizer, BATCHES, optimizer_state="clear_touched")
    state = optimizer.state.get(head, {})
    momenta = [v for v in state.values() if isinstance(v, Tensor) and v.shape == head.shape]
    assert all(not value.any() for value in momenta)
    for key, value in optimizer.state[model[1].weight].items():
        assert value is kept[key] is None or torch.equal(value, kept[key])
    train(model, optimizer)
    plastibench.apply("shrink_perturb", model, optimizer)
    assert not optimizer.state
    with plastibench.remedy("redo", model, optimizer, BATCHES, threshold=0.9, period=1) as remedy:
        train(model, optimizer, remedy)
    assert remedy.logged()["units_recycled"]
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_recycled_weight_starts_where_its_optimizer_starts() -> None:
    torch.manual_seed(0)
    model = make_model()
    optimizer = torch.optim.Rprop(model.parameters(), lr=0.01)
    train(model, optimizer)
    with plastibench.remedy("redo", model, optimizer, BATCHES, threshold=10.0, period=1) as remedy:
        train(model, optimizer, remedy, steps=1)
    assert (optimizer.state[model[1].weight]["step_size"] == 0.01).all()


def test_new_weights_from_a_function_leave_frozen_ones_alone() -> None:
    torch.manual_seed(0)
    model = make_model()
    model[1].requires_grad_(False)
    before = values(model)
    done = plastibench.apply("shrink_perturb", model, sgd(model), fresh=make_model, batch_norm="keep")
    assert done.changed == ("2.weight", "4.weight", "4.bias")
    assert changed(model, before) == list(done.changed)
    plastibench.apply("layerwise_reinit", model, sgd(model), fresh=make_model, head_name="4")
    assert torch.equal(model[1].weight, before["1.weight"])


def test_what_the_optimizer_does_not_have_is_not_shrunk_by_mistake() -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model[4].parameters(), 0.1)
    with pytest.raises(RequestError, match=r"does not have 1\.weight, 1\.bias, 2\.weight, 2\.bias"):
        plastibench.apply("shrink", model, optimizer, BATCHES)


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_as_before_and_frozen_statistics_stay(training: bool) -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(make_model()[:4], nn.BatchNorm1d(12), nn.Linear(12, 10))
    train(model, sgd(model))
    model.train(training)
    model[0][2].eval()
    model[1].requires_grad_(False)
    before = values(model)
    for policy in ("reset", "reestimate"):
        done = plastibench.apply("shrink", model, sgd(model), BATCHES, factor=1.0, batch_norm=policy)
        statistics = ["0.2.running_mean", "0.2.running_var"]
        # Of a model in evaluation mode nobody knows which of its layers stay so.
        assert [name for name in done.changed if "running" in name] == ([] if training else statistics)
        assert model.training is training
        assert not model[0][2].training
        assert model[1].training is training
        model.load_state_dict(before)


@dataclass(kw_only=True)
class Fails(Method):
    """Changes the model, then fails."""

    disabled: ClassVar[dict[str, Any]] = {}

    def before_stage(self, learner: Learner) -> None:
        """Fail."""
        learner.head.weight.mul_(2.0)
        learner.model.eval()
        raise ValueError("no more")


def test_a_remedy_that_fails_leaves_the_model_as_it_was() -> None:
    model = make_model()
    before = values(model)
    with pytest.raises(ValueError, match="no more"):
        plastibench.apply(Fails, model, sgd(model), BATCHES)
    assert not changed(model, before)
    assert model.training


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_and_the_model_is_as_before(bad: float) -> None:
    layer = nn.Linear(64, 10)
    model = nn.Sequential(nn.Flatten(), layer)
    before = copy.deepcopy(model.state_dict())
    images = X.clone()
    images[3, 0, 0, 0] = bad
    with pytest.raises(RequestError, match=r"Dash would leave values in 1\.\w+ that are not finite"):
        plastibench.apply("dash", model, None, [(images, Y)])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    layer.weight.data[0, 0] = bad
    with pytest.raises(RequestError, match="in the batches or in the model"):
        plastibench.apply("shrink", model)


def test_a_fresh_model_that_is_the_trained_one_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for name in ("shrink_perturb", "cold"):
        with pytest.raises(
            RequestError, match=r"fresh returns the trained model or a part of it \(1\.weight\)"
        ):
            plastibench.apply(name, model, fresh=lambda: model)


def test_a_class_an_instance_and_a_name_are_the_same_remedy(registry: Any) -> None:
    cls = registry.load("method", "shrink")
    pairs: list[tuple[Any, dict[str, Any]]] = [("shrink", {"factor": 0.25}), (cls, {"factor": 0.25})]
    for method, settings in [*pairs, (cls(factor=0.25), {})]:
        model = make_model()
        before = values(model)
        plastibench.apply(method, model, batches=BATCHES, **settings)
        assert torch.equal(model[1].weight, 0.25 * before["1.weight"])


def test_without_a_seed_each_call_draws_anew_and_torchs_seed_decides() -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(5)
        model = make_model()
        for _ in range(2):
            plastibench.apply("cold", model)
            weights.append(model[1].weight.clone())
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])
    one, other = (make_model() for _ in range(2))
    for model in (one, other):
        plastibench.apply("cold", model, generator=torch.Generator().manual_seed(9))
    assert torch.equal(one[1].weight, other[1].weight)


class Dictionary(nn.Module):
    """Takes inputs by name, and returns its loss among other values."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(64, 8), nn.Linear(8, 10)

    def forward(self, pixels: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.head(self.body(pixels.flatten(1)).relu())
        return UserOutput(logits, None if labels is None else F.cross_entropy(logits, labels))


@dataclass
class UserOutput:
    logits: Tensor
    loss: Tensor | None


def detector(images: list[Tensor]) -> list[Tensor]:
    """Return one number for each image, whatever its size."""
    return [image.mean() for image in images]


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(1, 3)

    def forward(self, images: list[Tensor]) -> Tensor:
        return self.body(torch.stack(detector(images))[:, None])  # type: ignore[no-any-return]


FORMS: dict[str, Callable[[], tuple[nn.Module, Any, Any]]] = {
    "loader": lambda: (make_model(), DataLoader(TensorDataset(X, Y), 16), None),
    "iterator": lambda: (make_model(), iter(BATCHES), None),
    "mapping": lambda: (Dictionary(), [UserDict(pixels=x, labels=y) for x, y in BATCHES], None),
    "named": lambda: (Dictionary(), [({"pixels": x}, y) for x, y in BATCHES], None),
    "list": lambda: (Detector(), [([*x], y % 3) for x, y in BATCHES], F.cross_entropy),
    "no targets": lambda: (Dictionary(), [((x, y), None) for x, y in BATCHES], lambda out, y: out.loss),
    "loss": lambda: (make_model(), [(x, x.flatten(1)[:, :10]) for x, _ in BATCHES], F.mse_loss),
}


@pytest.mark.parametrize("form", FORMS)
def test_batches_of_every_form_are_read_once_and_whole(form: str) -> None:
    torch.manual_seed(0)
    model, batches, loss = FORMS[form]()
    before = values(model)
    done = plastibench.apply("dash", model, sgd(model), batches, loss, chunks=(25, 15))
    assert done.passes == 40
    assert changed(model, before) == list(done.changed) != []


def test_parameters_of_layers_that_no_list_knows_are_named() -> None:
    assert plastibench.apply("shrink", WithoutReset()).left_out == ()  # it takes all parameters
    done = plastibench.apply("dash", WithoutReset(), batches=BATCHES)
    assert repr(done) == f"<Applied {done}>"
    assert done.left_out == ("scale",)
    assert "left out, in layers of unknown classes: scale;" in str(done)


def test_a_batch_of_a_chunk_is_cut_from_those_of_the_loader() -> None:
    torch.manual_seed(0)
    one, sizes = make_model(), []
    other = copy.deepcopy(one)
    one.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    plastibench.apply("dash", one, batches=BATCHES, chunks=(25, 15), micro_batch=10)
    assert sizes[-5:] == [10, 10, 5, 10, 5]
    plastibench.apply("dash", other, batches=[(X, Y)], chunks=(25, 15), micro_batch=10)
    assert not changed(one, values(other))


class WithoutReset(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(64))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.scale * x.flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "dash"}, "Dash looks at data: give batches, an iterable of (inputs, targets)"),
        ({"method": "dash", "batches": 3}, "batches=int is not allowed"),
        ({"method": "dash", "batches": []}, "batches is empty"),
        ({"method": "dash", "batches": [X]}, "must yield pairs (inputs, targets)"),
        ({"method": "dahs"}, "did you mean 'dash'"),
        ({"method": "dash:dash_2042"}, "no preset of dash named 'dash_2042'"),
        ({"method": "dash", "flor": 0.1}, "no setting of Dash named 'flor'; did you mean 'floor'"),
        ({"method": "dash", "floor": 2.0}, "floor=2 is not allowed"),
        ({"method": 3}, "3 is no method"),
        ({"method": "head_reset"}, "HeadReset asks for the layer that returns the logits"),
        ({"method": "effective_lr", "batches": BATCHES}, "EffectiveLR changes the optimizer: give it"),
        ({"method": "cold", "fresh": [make_model()], "model": zoo.body()}, "fresh is not like the model: 1."),
        ({"method": "cold", "fresh": lambda: 3}, "fresh returns int"),
        ({"method": "cold", "model": WithoutReset()}, "the model (WithoutReset) has no reset_parameters"),
        ({"method": "soft_reset", "fresh": make_model()}, "draws new weights more than 1 times"),
        ({"method": "cold", "seed": 1, "generator": torch.Generator()}, "either seed=1 or generator"),
        ({"method": "cold", "stage": 0}, "stage=0 is not allowed"),
        ({"method": "l2_init"}, "L2Init cannot act once: it adds to the loss of every step"),
        ({"method": "redo"}, "Redo cannot act once: it acts after every step"),
        ({"method": "ema"}, "Ema cannot act once"),
        ({"method": "crelu"}, "CReLU cannot act once: it trains another model"),
        ({"method": "sam"}, "Sam cannot act once: it changes how the model is trained"),
        ({"method": "warm", "model": 3}, "model=int is not allowed"),
        ({"method": "warm", "model": nn.DataParallel(make_model())}, "give model.module"),
        ({"method": "warm", "model": nn.Flatten()}, "no parameter"),
    ],
)
def test_what_is_wrong_or_missing_is_said_and_nothing_changes(
    arguments: dict[str, Any], message: str
) -> None:
    arguments = {"model": make_model(), **arguments}
    model = arguments["model"]
    before = values(model) if isinstance(model, nn.Module) else {}
    with pytest.raises(RequestError) as raised:
        plastibench.apply(**arguments)
    assert message in str(raised.value)
    assert not before or not changed(model, before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sam", "Sam cannot act with SGD: it is a way to train, with the optimizer sam"),
        ("muon", "Muon cannot act with SGD"),
        ("data_augmentation", "augment the images in your data loader"),
        ("layer_norm", "LayerNorm trains another model"),
    ],
)
def test_what_only_the_owner_of_a_loop_can_do_is_said(name: str, message: str) -> None:
    model = make_model()
    with pytest.raises(RequestError) as raised:
        plastibench.remedy(name, model, sgd(model), BATCHES)
    assert message in str(raised.value)


def test_options_of_a_recipe_are_set_in_the_optimizer() -> None:
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.5)
    plastibench.remedy("weight_decay", model, optimizer, strength=0.1).close()
    decays = {p.dim(): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {2: 0.1, 1: 0.0}


def test_a_rate_that_a_remedy_changes_is_the_new_base_of_a_scheduler() -> None:
    torch.manual_seed(0)
    model = make_model()
    optimizer = sgd(model)
    done = plastibench.apply("effective_lr", model, optimizer, BATCHES, factor=0.5)
    assert "lr" in done.options
    assert all("initial_lr" not in group for group in optimizer.param_groups)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    assert sorted(scheduler.base_lrs) == [0.1, pytest.approx(0.4)]


# In the loop


def test_hooks_are_gone_in_the_end_and_copies_of_the_model_are_not_watched() -> None:
    model = make_model()
    optimizer = sgd(model)
    with plastibench.remedy("distill_reset", model, optimizer) as remedy:
        train(model, optimizer, remedy)
        copy.deepcopy(model).train()(X)
        remedy.next_stage()
        train(model, optimizer, remedy)
    assert not model._forward_pre_hooks
    assert not model._forward_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_after_step_can_be_called_by_hand_but_not_twice() -> None:
    models = [make_model()]
    models.append(copy.deepcopy(models[0]))
    for model, hook in zip(models, (True, False), strict=True):
        optimizer = sgd(model)
        remedy = plastibench.remedy("weight_clipping", model, optimizer, hook=hook, kappa=0.5)
        train(model, optimizer, steps=1)
        if not hook:
            remedy.after_step()
            continue
        with pytest.raises(RequestError, match="the optimizer calls after_step itself"):
            remedy.after_step()
    assert not changed(models[0], values(models[1]))


def test_targets_that_a_loss_term_needs_are_asked_for() -> None:
    model = make_model()
    remedy = plastibench.remedy("label_smoothing", model, sgd(model))
    logits = model(X)
    with pytest.raises(RequestError, match="needs logits and targets"):
        remedy.loss_term()
    assert torch.as_tensor(remedy.loss_term(logits, Y)).detach() != 0.0


def test_activations_that_were_not_seen_are_not_taken_for_none() -> None:
    model = make_model()
    optimizer = sgd(model)
    with plastibench.remedy("continual_backprop", model, optimizer, BATCHES):
        F.cross_entropy(model.forward(X), Y).backward()
        with pytest.raises(RequestError, match="saw no pass of the model in training mode"):
            optimizer.step()


def test_a_stage_that_could_not_begin_begins_with_what_was_missing() -> None:
    torch.manual_seed(0)
    models, done = [make_model()], []
    models.append(copy.deepcopy(models[0]))
    for model, forgets in zip(models, (True, False), strict=True):
        remedy = plastibench.remedy("dash", model, sgd(model))
        if forgets:
            with pytest.raises(RequestError, match="Dash looks at data"):
                remedy.next_stage()
            with pytest.raises(RequestError, match=r"chunks=30,30 are 60 examples, and batches have 40"):
                remedy.next_stage(BATCHES, chunks=(30, 30))
        done.append(remedy.next_stage(BATCHES))
        assert remedy.state_dict()["learner"]["stage"] == 1
    assert not changed(models[0], values(models[1]))


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Examples of which nobody knows how many there are."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(X, Y, strict=True)


@pytest.mark.parametrize(
    ("loader", "size"),
    [
        (DataLoader(TensorDataset(X, Y), 16), 40),
        (DataLoader(TensorDataset(X, Y), 16, drop_last=True), 32),
        (DataLoader(Stream(), 16), 40),
        (DataLoader(TensorDataset(X, Y), batch_sampler=[[0, 1, 2], [3, 4]]), 5),
    ],
)
def test_the_examples_of_every_loader_are_counted_as_it_has_them(loader: Any, size: int) -> None:
    model = make_model()
    assert plastibench.apply("dash", model, batches=loader).passes == size


class Wrapper(torch.optim.Optimizer):
    """An optimizer around another one, as accelerate has it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.state = optimizer, optimizer.state
        self.param_groups = optimizer.param_groups


def test_an_optimizer_that_takes_no_hooks_is_told_apart() -> None:
    model = make_model()
    optimizer = Wrapper(sgd(model))
    with pytest.raises(RequestError, match="Wrapper takes no hooks: make the remedy with hook=False"):
        plastibench.remedy("l2_init", model, optimizer)
    assert not model._forward_hooks
    plastibench.remedy("l2_init", model, optimizer, hook=False).close()


def stages(model: nn.Module, optimizer: Any, remedy: Any) -> Iterator[None]:
    for _ in range(2):
        for _ in range(2):
            train(model, optimizer, remedy, steps=1)
            yield
        remedy.next_stage(BATCHES)
    yield


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name", ["l2_init", "distill_reset", "continual_backprop", "ema", "normalize_project"]
)
def test_a_checkpoint_of_a_loop_keeps_the_remedy(name: str) -> None:
    def made() -> tuple[nn.Module, Any, Any]:
        torch.manual_seed(0)
        model = make_model()
        optimizer = sgd(model)
        return model, optimizer, plastibench.remedy(name, model, optimizer, BATCHES, seed=2)

    whole = made()
    for _ in stages(*whole):
        pass
    parts = made()
    for _ in stages(*parts):
        file = io.BytesIO()
        torch.save([part.state_dict() for part in parts], file)
        file.seek(0)
        saved, interrupted = torch.load(file, weights_only=True), parts
    resumed = made()
    train(resumed[0], resumed[1], resumed[2])
    for part, state in zip(resumed, saved, strict=True):
        part.load_state_dict(state)
    for one in (interrupted, resumed):
        train(*one, steps=2)
        one[2].next_stage(BATCHES)
        train(*one, steps=1)
    assert not changed(resumed[0], values(interrupted[0]))
    assert not changed(resumed[2].evaluated_model(), values(interrupted[2].evaluated_model()))
    other = plastibench.remedy("warm", *made()[:2])
    with pytest.raises(RequestError, match="the state is that of"):
        other.load_state_dict(saved[2])
