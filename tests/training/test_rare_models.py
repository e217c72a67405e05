"""What is measured and averaged of rare models: in other precisions, of older layers, with tiny weights."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from plastibench.training.averaging import averaged_tensors, model_with
from plastibench.training.measuring import cosine
from plastibench.training.unit_trace import trace_units


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.mark.parametrize("size", [1e-13, 1.0, 1e9])
def test_the_cosine_of_equal_vectors_is_one_whatever_their_size(size: float) -> None:
    vector = [torch.full((60,), size), torch.full((40,), -size)]
    assert cosine(vector, vector) == pytest.approx(1.0, rel=1e-6)
    assert cosine(vector, [-part for part in vector]) == pytest.approx(-1.0, rel=1e-6)


def test_the_hidden_units_of_a_model_in_double_precision_are_known() -> None:
    layers = [trace_units(model, (1, 4, 4)).layers for model in (perceptron(), perceptron().double())]
    assert [len(found) for found in layers] == [1, 1]


def test_a_model_with_the_older_weight_norm_can_hold_an_average() -> None:
    model = perceptron()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(model[1])
    model(torch.zeros(2, 1, 4, 4))  # computes a weight with a history, which torch does not copy
    twin = model_with(model, [torch.zeros_like(tensor) for tensor in averaged_tensors(model)])
    assert not any(tensor.any() for tensor in averaged_tensors(twin))
    assert any(tensor.any() for tensor in averaged_tensors(model))
