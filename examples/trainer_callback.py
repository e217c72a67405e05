"""A remedy in the callbacks of a trainer, as Hugging Face's transformers has them.

    python examples/trainer_callback.py

`RemedyCallback` has the hooks of `transformers.TrainerCallback`. The trainer below is a small one of the same
form, so that the example runs without transformers; with it, write

    class Callback(RemedyCallback, transformers.TrainerCallback): ...

    class RemedyTrainer(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
            loss = loss + self.remedy.loss_term()
            return (loss, outputs) if return_outputs else loss

and give the callback to the trainer and to `remedy` of this class.
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import plastibench


class RemedyCallback:
    """Puts a remedy into every training of a trainer; each one after the first is a new stage."""

    def __init__(self, method: str, **settings: object) -> None:
        self.method, self.settings = method, settings
        self.remedy = None
        self.state = None

    def on_train_begin(self, args, state, control, model, optimizer, train_dataloader, **kwargs) -> None:
        """Begin with the remedy, or go on with it: new data have come."""
        optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps the optimizer
        settings = {"hook": False, **self.settings}
        self.remedy = plastibench.remedy(self.method, model, optimizer, train_dataloader, **settings)
        if self.state is not None:
            self.remedy.load_state_dict(self.state)
            print(self.remedy.next_stage(train_dataloader))

    def on_optimizer_step(self, args, state, control, **kwargs) -> None:
        """Act after an update of the weights."""
        self.remedy.after_step()

    def on_save(self, args, state, control, **kwargs) -> None:
        """Keep the remedy beside the trainer's own checkpoint."""
        folder = f"{args.output_dir}/checkpoint-{state.global_step}"
        torch.save(self.remedy.state_dict(), f"{folder}/remedy.pt")

    def on_train_end(self, args, state, control, **kwargs) -> None:
        """Keep the state for the next training, and take the hooks out of the model."""
        self.state = self.remedy.state_dict()
        self.remedy.close()

    def loss_term(self) -> Tensor | float:
        """Return what the remedy adds to the loss."""
        return self.remedy.loss_term()


class Trainer:
    """A trainer with callbacks: it makes a new optimizer for each training."""

    def __init__(self, model: nn.Module, train_dataset: Dataset, callbacks: list, epochs: int) -> None:
        self.model, self.train_dataset, self.callbacks = model, train_dataset, callbacks
        self.args, self.state = SimpleNamespace(epochs=epochs), SimpleNamespace(global_step=0)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch, of which a model of transformers would return it itself."""
        return model(**inputs).loss

    def call(self, event: str, **kwargs: object) -> None:
        """Call an event of all callbacks that have it."""
        for callback in self.callbacks:
            getattr(callback, event, lambda *_, **__: None)(self.args, self.state, None, **kwargs)

    def train(self) -> None:
        """Train for the epochs of the arguments."""
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)
        loader = DataLoader(self.train_dataset, batch_size=50, shuffle=True)
        everything = {"model": self.model, "optimizer": optimizer, "train_dataloader": loader}
        self.model.train()
        self.call("on_train_begin", **everything)
        for _ in range(self.args.epochs):
            for inputs in loader:
                self.compute_loss(self.model, inputs).backward()
                optimizer.step()
                self.call("on_optimizer_step", **everything)
                optimizer.zero_grad()
                self.state.global_step += 1
        self.call("on_train_end", **everything)


class RemedyTrainer(Trainer):
    """A trainer whose loss has the term of a remedy."""

    remedy: RemedyCallback

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Return the loss of a batch with the term."""
        return super().compute_loss(model, inputs) + self.remedy.loss_term()


class Classifier(nn.Module):
    """Takes inputs by name, and returns logits and the loss, as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, pixels: Tensor, labels: Tensor | None = None) -> SimpleNamespace:
        """Map (b, 64) to logits (b, 10)."""
        logits = self.layers(pixels)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SimpleNamespace(logits=logits, loss=loss)


class Digits(Dataset):
    """Some of the handwritten digits that come with scikit-learn."""

    def __init__(self, start: int, end: int) -> None:
        digits, order = load_digits(), torch.randperm(1797, generator=torch.Generator().manual_seed(0))
        chosen = order[start:end]
        self.pixels = torch.tensor(digits.data / 16, dtype=torch.float32)[chosen]
        self.labels = torch.tensor(digits.target)[chosen]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixels": self.pixels[index], "labels": self.labels[index]}


def main(method: str = "l2_init", epochs: int = 10) -> float:
    """Train on half of the data, then on all of them; print and return the accuracy on test data."""
    torch.manual_seed(0)
    model, callback = Classifier(), RemedyCallback(method, fresh=Classifier)
    trainer = RemedyTrainer(model, Digits(0, 600), [callback], epochs)
    trainer.remedy = callback
    trainer.train()
    trainer.train_dataset = Digits(0, 1200)  # the other half has arrived
    trainer.train()
    test = Digits(1200, 1797)
    with torch.no_grad():
        accuracy = (model(test.pixels).logits.argmax(1) == test.labels).float().mean().item()
    print(f"{method}: {100 * accuracy:.2f} %")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="l2_init")
    parser.add_argument("--epochs", type=int, default=10)
    main(**vars(parser.parse_args()))
