"""Which parameters a normalization follows, so that their scale changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from plastibench.errors import RequestError
from plastibench.training.normalized import normalized_parameters


class Model(nn.Module):
    """Layers before a norm, one of them shared with a layer before a ReLU, and one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared, self.plain = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.plain.weight = self.shared.weight
        self.twice, self.frozen, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.frozen.requires_grad_(False)
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        x = self.plain(self.norm(self.shared(x))).relu()
        x = self.norm(self.frozen(self.twice(self.norm(self.twice(x)))))
        return self.head(x)  # type: ignore[no-any-return]


def test_a_parameter_counts_if_a_norm_follows_wherever_it_is_used() -> None:
    model = Model()
    found = normalized_parameters(model, (4,))
    names = [name for name, p in model.named_parameters() if any(p is one for one in found)]
    assert names == ["first.weight", "first.bias", "shared.bias"]
    assert len(found) == len(names)


def test_a_model_without_a_norm_has_none() -> None:
    assert normalized_parameters(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), (4,)) == []


def test_scaling_them_changes_nothing_that_the_model_computes() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    x = torch.randn(8, 1, 8, 8)
    before = model(x).detach()
    with torch.no_grad():
        for parameter in normalized_parameters(model, (1, 8, 8)):
            parameter.mul_(2)
    torch.testing.assert_close(model(x).detach(), before, rtol=1e-2, atol=1e-3)
    assert len(normalized_parameters(model, (1, 8, 8))) == 2


def test_a_model_that_cannot_run_is_named() -> None:
    with pytest.raises(RequestError, match="fails on two examples of zeros"):
        normalized_parameters(nn.Linear(4, 3), (5,))
