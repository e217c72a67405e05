"""Your own PyTorch loop: train on half of the data, get the other half, go on. With and without a remedy.

    python examples/own_loop.py

Handwritten digits that come with scikit-learn, a small network, and each remedy as one line in the loop.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import plastibench

REMEDIES = ("warm", "cold", "shrink_perturb", "dash", "l2_init")
"""To go on, to start again, two remedies that act once, and one that acts in every step."""


def make_model() -> nn.Module:
    """Return a newly initialized network."""
    return nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))


def load() -> tuple[Tensor, Tensor]:
    """Return 1,797 digits (n, 64) and their labels (n,), shuffled."""
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order], y[order]


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader, remedy, epochs: int
) -> None:
    """Train for some epochs; the remedy acts after each `optimizer.step()` by itself."""
    model.train()
    for _ in range(epochs):
        for x, y in loader:
            loss = F.cross_entropy(model(x), y) + remedy.loss_term()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def run(name: str, seed: int, epochs: int) -> float:
    """Return the accuracy on test data after both phases."""
    torch.manual_seed(seed)
    x, y = load()
    half, whole = TensorDataset(x[:600], y[:600]), TensorDataset(x[:1200], y[:1200])
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = DataLoader(half, batch_size=50, shuffle=True)
    with plastibench.remedy(name, model, optimizer, loader, fresh=make_model) as remedy:
        train(model, optimizer, loader, remedy, epochs)
        # The other half arrives. Chunks are in order of arrival, so this loader does not shuffle.
        remedy.next_stage(DataLoader(whole, batch_size=50), chunks=(600, 600))
        train(model, optimizer, DataLoader(whole, batch_size=50, shuffle=True), remedy, epochs)
        deployed = remedy.evaluated_model().eval()
    with torch.no_grad():
        return (deployed(x[1200:]).argmax(1) == y[1200:]).float().mean().item()


def main(epochs: int = 20, seeds: int = 3) -> dict[str, float]:
    """Print and return the mean accuracy of each remedy."""
    accuracies = {}
    for name in REMEDIES:
        found = [run(name, seed, epochs) for seed in range(seeds)]
        accuracies[name] = sum(found) / len(found)
        print(f"{name:<16} {100 * accuracies[name]:.2f} %", flush=True)
    return accuracies


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    main(**vars(parser.parse_args()))
