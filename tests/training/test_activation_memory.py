"""A method's own pass keeps no more memory than the device allows; its gradient is the same to rounding."""

from __future__ import annotations

import copy

import pytest
import torch
from support.tasks import small_digits
from torch import Tensor, nn

from plastibench.devices import Cpu
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.testing.run_trace import data_context
from plastibench.training.activation_memory import bytes_per_image, micro_batch_size
from plastibench.training.learner import Learner


class Tight(Cpu):
    """A CPU whose limit the tests set."""

    activation_memory = 0


def learner_on(registry: Registry, device: Cpu) -> Learner:
    learner = Learner(small_digits(registry), Method(), 0, device)
    learner.begin_stage(next(iter(learner.task.stream(0, data_context()))))
    return learner


def gradients(learner: Learner, *, train: bool = False) -> tuple[list[Tensor], list[int]]:
    """Return the gradient of the loss on the stage, and the sizes of the batches that the model saw."""
    model, sizes = copy.deepcopy(learner.model).train(train), list[int]()
    model.register_forward_pre_hook(lambda _, args: sizes.extend([] if args[0].is_meta else [len(args[0])]))
    x, y = next(iter(learner.stage.train.batches(1000)))
    learner.backward(model, x, y, weight=0.5, split=True)
    return [p.grad for p in model.parameters() if p.grad is not None], sizes


def test_a_batch_that_keeps_too_much_passes_in_equal_parts(registry: Registry) -> None:
    whole, tight = learner_on(registry, Cpu()), learner_on(registry, Tight())
    each = bytes_per_image(whole.model.eval(), (1, 8, 8))
    assert each is not None
    Tight.activation_memory = int(6.5 * each)
    expected, one = gradients(whole)
    found, several = gradients(tight)
    total = len(whole.stage.train)
    assert one == [total]
    assert sum(several) == total
    assert max(several) <= 6
    assert len(set(several[:-1])) == 1
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert tight.cost.remedy_passes == whole.cost.remedy_passes == total


def test_what_is_measured_is_what_autograd_keeps(registry: Registry) -> None:
    model = learner_on(registry, Cpu()).model.eval()
    constant = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.randn(10, 1, 8, 8))
    real = sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in constant)
    assert bytes_per_image(model, (1, 8, 8)) == pytest.approx(real / 10, rel=0.05)


def test_a_batch_passes_whole_unless_it_is_to_be_split(registry: Registry) -> None:
    Tight.activation_memory = 1
    learner, sizes = learner_on(registry, Tight()), list[int]()
    learner.model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    x, y = next(iter(learner.stage.train.batches(1000)))
    learner.backward(learner.model.eval(), x, y)
    assert len(x) in sizes
    assert 1 not in sizes


def test_examples_that_depend_on_each_other_stay_in_one_batch(registry: Registry) -> None:
    Tight.activation_memory = 1
    learner = learner_on(registry, Tight())
    _, sizes = gradients(learner, train=True)
    assert sizes == [len(learner.stage.train)]
    _, sizes = gradients(learner)
    assert set(sizes) == {1}


class Untraceable(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, : int(x.sum() * 0) + 10]  # a value that torch's meta device does not have


def test_a_model_that_cannot_be_traced_passes_whole() -> None:
    assert micro_batch_size(Untraceable().eval(), torch.zeros(9, 1, 8, 8), limit=1) == 9


@pytest.mark.parametrize(("model", "width"), [("small_resnet", 16), ("mlp_bn", 1024)])
def test_small_models_are_not_cut(registry: Registry, model: str, width: int) -> None:
    # The bits of published runs depend on it: 1024 images are DASH's usual batch.
    architecture = registry.load("model", model)(width=width)
    task = small_digits(registry, model, architecture=architecture)
    assert micro_batch_size(task.model().eval(), torch.empty(1024, 1, 8, 8), Cpu.activation_memory) == 1024
