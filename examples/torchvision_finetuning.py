"""Fine-tune torchvision's ResNet-18 when twice the data are there, with a remedy before it.

    python examples/torchvision_finetuning.py --data DIR

The first half of the images trains a model; then all are there, and the model is trained on, the first
layers frozen. DIR has a folder of images for each class; without it the images are handwritten digits of
scikit-learn, enlarged. No weights are downloaded.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

import plastibench

REMEDIES = ("warm", "shrink_perturb", "dash", "head_reset")


def load(folder: Path | None, count: int) -> tuple[Tensor, Tensor]:
    """Return images (n, 3, size, size) with mean 0 and their labels (n,), shuffled."""
    if folder is None:
        digits = load_digits()
        x = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
        x, y = F.interpolate(x, size=32).expand(-1, 3, -1, -1), torch.tensor(digits.target)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:count]
        x, y = x[order], y[order]
    else:
        images = ImageFolder(folder, Compose([Resize(64), CenterCrop(64), ToTensor()]))
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
        pairs = [images[i] for i in order.tolist()]
        x, y = torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])
    return (x - x.mean()) / x.std(), y


def freeze_first_layers(model: nn.Module) -> None:
    """Freeze the stem and the first block: their weights, and their batch normalization."""
    for part in (model.conv1, model.bn1, model.layer1):
        part.requires_grad_(False)
        part.eval()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: TensorDataset, epochs: int) -> None:
    """Train for some epochs in the mode that the model is in."""
    for _ in range(epochs):
        for x, y in DataLoader(data, batch_size=64, shuffle=True, drop_last=True):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def fine_tune(name: str, model: nn.Module, data: TensorDataset, epochs: int) -> plastibench.Applied:
    """Let a remedy act, then train on; the head has a higher rate than the rest."""
    model.train()
    freeze_first_layers(model)
    head = set(model.fc.parameters())
    body = [p for p in model.parameters() if p.requires_grad and p not in head]
    groups = [{"params": body}, {"params": list(head), "lr": 0.05}]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
    in_order = DataLoader(data, batch_size=64)
    make_model = partial(resnet18, num_classes=model.fc.out_features)
    done = plastibench.apply(name, model, optimizer, in_order, fresh=make_model, chunks=(len(data) // 2,) * 2)
    train(model, optimizer, data, epochs)
    return done


def main(data: Path | None = None, epochs: int = 5, count: int = 1500) -> dict[str, float]:
    """Print and return the accuracy on test data with each remedy."""
    torch.manual_seed(0)
    x, y = load(data, count)
    num_train = len(x) * 2 // 3 // 2 * 2
    train_data = TensorDataset(x[:num_train], y[:num_train])
    pretrained = resnet18(num_classes=int(y.max()) + 1)
    optimizer = torch.optim.SGD(pretrained.parameters(), lr=0.02, momentum=0.9)
    train(pretrained, optimizer, TensorDataset(x[: num_train // 2], y[: num_train // 2]), epochs)
    accuracies = {}
    for name in REMEDIES:
        torch.manual_seed(1)
        model = copy.deepcopy(pretrained)
        print(fine_tune(name, model, train_data, epochs))
        with torch.no_grad():
            correct = model.eval()(x[num_train:]).argmax(1) == y[num_train:]
        accuracies[name] = correct.float().mean().item()
        print(f"{name}: {100 * accuracies[name]:.1f} %", flush=True)
    return accuracies


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--count", type=int, default=1500)
    main(**vars(parser.parse_args()))
