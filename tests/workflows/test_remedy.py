"""A remedy acts on a checkpoint file: what is not its own stays as it was."""

from __future__ import annotations

import argparse
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support import zoo
from torch import Tensor, nn

import plastibench
from plastibench import RequestError
from plastibench.cli.main import cli
from plastibench.workflows.remedy import RemedyRequest, RemedyResult, remedy

MODEL = """
import torch
from torch import nn

def make(width=6):
    body = [nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(36 * width, 10))

def batches():
    torch.manual_seed(3)
    for _ in range(3):
        yield torch.randn(8, 1, 8, 8), torch.randint(10, (8,))

def loss(output, y):
    return torch.nn.functional.cross_entropy(output, y)
"""
made: dict[str, Any] = {}
exec(MODEL, made)


def trained(seed: int = 0) -> tuple[nn.Module, torch.optim.SGD]:
    torch.manual_seed(seed)
    model = made["make"]()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for x, y in made["batches"]():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, optimizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with files of one model."""
    path = tmp_path_factory.mktemp("files")
    (path / "own.py").write_text(MODEL)
    model, optimizer = trained()
    weights, average = model.state_dict(), trained(1)[0].state_dict()
    torch.save(weights, path / "weights.pt")
    torch.save(trained(2)[0].state_dict(), path / "fresh.pt")
    whole = {"epoch": 7, "optimizer": optimizer.state_dict(), "model": weights, "scores": [0.5, (1, "a")]}
    torch.save({**whole, "average": average, "best": weights}, path / "whole.pt")
    torch.save({"a": {"b": [weights]}, "c": average}, path / "nested.pt")
    prefixed = OrderedDict((f"module.{name}", value) for name, value in weights.items())
    torch.save({"state_dict": prefixed}, path / "prefixed.pt")
    torch.save(weights, path / "old_form.pt", _use_new_zipfile_serialization=False)
    torch.save({"model": weights, "args": argparse.Namespace(lr=1)}, path / "pickled.pt")
    torch.save(model, path / "model.pt")
    torch.save({"epoch": 3}, path / "empty.pt")
    save_file(weights, path / "weights.safetensors", metadata={"format": "pt", "mine": "yes"})
    halves = {name: v.half() if v.is_floating_point() else v for name, v in weights.items()}
    save_file(dict(reversed(halves.items())), path / "halves.safetensors")
    (path / "damaged.pt").write_bytes((path / "weights.pt").read_bytes()[:1000])
    (path / "damaged.safetensors").write_bytes(b"123456789")
    torch.save({"inputs": torch.randn(20, 1, 8, 8), "targets": torch.randint(10, (20,))}, path / "data.pt")
    torch.save(
        {"inputs": torch.zeros(20, 1, 8, 8, dtype=torch.uint8), "targets": torch.zeros(20)}, path / "raw.pt"
    )
    return path


Act = Callable[..., tuple[RemedyResult, Any]]


@pytest.fixture
def act(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Act:
    """Return a function that lets a remedy act on one of the files, and reads what it has written."""
    monkeypatch.chdir(folder)

    def acted(method: str, old: str, **options: Any) -> tuple[RemedyResult, Any]:
        new = tmp_path / f"new{Path(old).suffix}"
        new.unlink(missing_ok=True)
        found = remedy(RemedyRequest(method=method, old=Path(old), new=new, seed=1, **options))
        return found, load_file(new) if new.suffix == ".safetensors" else torch.load(new, weights_only=True)

    return acted


def load(folder: Path, name: str) -> Any:
    return torch.load(folder / name, weights_only=True)


def same(one: Any, other: Any) -> bool:
    """Return whether nested values are equal, types and order included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_a_nested_checkpoint_keeps_all_that_is_not_the_models(act: Act, folder: Path) -> None:
    old = load(folder, "whole.pt")
    result, new = act("shrink", "whole.pt", settings={"factor": "0.5", "batch_norm": "keep"})
    assert (result.model_place, result.optimizer_place) == ("model", "optimizer")
    assert result.untouched == ("average", "best")
    for name, value in old["model"].items():
        trains = value.is_floating_point() and "running" not in name
        assert torch.equal(new["model"][name], 0.5 * value if trains else value), name
    assert old["optimizer"]["state"]
    assert new["optimizer"]["state"] == {}
    assert new["optimizer"]["param_groups"] == old["optimizer"]["param_groups"]
    for part in ("model", "optimizer"):
        del old[part], new[part]
    assert same(new, old)  # `best` was in the same memory as the model


def test_a_file_is_changed_as_the_model_in_memory_is(act: Act, folder: Path) -> None:
    model, optimizer = trained()
    plastibench.apply("dash", model, optimizer, list(made["batches"]()), seed=1)
    result, new = act("dash", "whole.pt", model="own.py:make", data="own.py:batches", loss="own.py:loss")
    assert same(new["model"], model.state_dict())
    assert same(new["optimizer"], load(folder, "whole.pt")["optimizer"])
    assert result.applied.passes == 24
    _, same_data = act("dash", "whole.pt", model="own.py:make(width=6)", data="data.pt", batch_size=7)
    assert not same(same_data["model"], new["model"])


@pytest.mark.parametrize(
    ("name", "place"), [("prefixed.pt", "state_dict"), ("old_form.pt", ""), ("weights.safetensors", "")]
)
def test_every_form_of_file_is_changed_alike(act: Act, folder: Path, name: str, place: str) -> None:
    options = {"settings": {"batch_norm": "reset"}, "fresh": ("fresh.pt",)}
    result, _ = act("shrink_perturb", "weights.pt", **options)
    _, expected = act("shrink_perturb", "weights.pt", **options)
    if name == "prefixed.pt":
        options = {"model": "own.py:make", **options}
    result, new = act("shrink_perturb", name, **options)
    found = new[place] if place else new
    assert result.model_place == place
    assert len(result.applied.changed) == 9
    for key, value in expected.items():
        assert torch.equal(found[f"module.{key}" if name == "prefixed.pt" else key], value)


def test_of_a_file_of_safetensors_all_other_bytes_stay(act: Act, folder: Path, tmp_path: Path) -> None:
    act("shrink", "halves.safetensors", settings={"scope": "layers", "batch_norm": "keep"})
    old, new = (
        (where / name).read_bytes()
        for where, name in ((folder, "halves.safetensors"), (tmp_path, "new.safetensors"))
    )
    size = 8 + int.from_bytes(old[:8], "little")
    assert old[:size] == new[:size]
    for name, about in json.loads(old[8:size]).items():
        low, high = (size + offset for offset in about["data_offsets"])
        is_layer = name.partition(".")[0] in ("0", "4")
        assert (old[low:high] != new[low:high]) is is_layer, name
    act("shrink", "weights.safetensors", settings={"batch_norm": "keep"})
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "mine": "yes"}


def test_shared_memory_views_and_types_stay(folder: Path, tmp_path: Path, act: Act) -> None:
    weight = torch.randn(4, 4)
    content = {"in.weight": weight, "out.weight": weight, "half.weight": torch.randn(4, 6).bfloat16()[:, ::2]}
    content |= {"out.bias": nn.Parameter(torch.ones(4)), "steps": torch.tensor(3)}
    torch.save(content, tmp_path / "shared.pt")
    _, new = act("shrink", str(tmp_path / "shared.pt"), settings={"factor": "0.5"})
    assert new["in.weight"].data_ptr() == new["out.weight"].data_ptr()
    for name, value in content.items():
        assert type(new[name]) is type(value)
        assert new[name].stride() == value.stride()
        assert same(new[name], value if name == "steps" else value.detach() * 0.5) or isinstance(
            value, nn.Parameter
        )
    assert torch.equal(new["in.weight"], 0.5 * weight)  # once, although it has two names


def test_options_and_state_of_an_optimizer_follow_the_method(act: Act, folder: Path) -> None:
    old = load(folder, "whole.pt")["optimizer"]
    options: dict[str, Any] = {"model": "own.py:make", "data": "own.py:batches"}
    _, new = act("head_reset", "whole.pt", settings={"optimizer_state": "clear_touched"}, **options)
    assert [bool(new["optimizer"]["state"][i]["momentum_buffer"].any()) for i in range(6)] == [True] * 4 + [
        False
    ] * 2
    assert same(new["optimizer"]["param_groups"], old["param_groups"])
    _, new = act("effective_lr", "whole.pt", settings={"factor": "0.5"}, **options)
    rates = {i: group["lr"] for group in new["optimizer"]["param_groups"] for i in group["params"]}
    assert rates == {0: 0.4, 1: 0.4, **dict.fromkeys(range(2, 6), 0.1)}


@pytest.mark.heavy
def test_a_bare_state_dict_is_enough_where_weights_are(act: Act) -> None:
    ways: dict[str, dict[str, Any]] = {
        "fire": {},
        "soft_reset": {"fresh": ("fresh.pt", "whole.pt"), "model_key": None},
        "head_reset": {"fresh": ("fresh.pt",), "head_name": "4"},
        "shrink_perturb:dash_2024": {},
        "warm_reset_momentum": {},
        "layerwise_reinit": {"fresh": ("fresh.pt",), "initial": "fresh.pt", "head_name": "4"},
    }
    for name, options in ways.items():
        bare, new = act(name, "weights.pt", **options)
        whole, same_new = act(name, "weights.pt", **options, model="own.py:make")
        assert bare.applied.changed == whole.applied.changed
        assert same(new, same_new), name


@pytest.mark.parametrize("name", sorted(zoo.PLAIN.keys() - {"frozen", "transposed"}))
def test_layers_are_told_apart_by_their_weights(act: Act, tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model = zoo.PLAIN[name]()
    torch.save(model.state_dict(), tmp_path / "zoo.pt")
    _, new = act("shrink", str(tmp_path / "zoo.pt"), settings={"scope": "layers", "batch_norm": "keep"})
    plastibench.apply("shrink", model, scope="layers", batch_norm="keep")
    assert same(new, model.state_dict())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["shrink", "pickled.pt"],
            "could run code when they are loaded (argparse.Namespace): save its tensors",
        ),
        (["shrink", "model.pt"], "could run code when they are loaded"),
        (["shrink", "damaged.pt"], "cannot be read as a file of torch.save"),
        (["shrink", "damaged.safetensors"], "is no file of safetensors"),
        (["shrink", "none.pt"], "no file at none.pt"),
        (["shrink", "empty.pt"], "holds no state_dict of a model"),
        (["shrink", "nested.pt"], "more than one state_dict of a model (a.b.0, c): name one by --model-key"),
        (["shrink", "nested.pt", "--model-key", "a.b"], "did you mean 'a.b.0'"),
        (["shrink", "weights.pt"], "again: give --model and --data; or set batch_norm=reset or keep"),
        (["shrink", "weights.pt", "--model", "own.py:make"], "normalization again: give --data"),
        (["dash", "weights.pt", "--data", "data.pt"], "--data means nothing without --model"),
        (["dash", "weights.pt", "--model", "own.py:make", "--data", "raw.pt"], "are uint8"),
        (["dash", "weights.pt", "--model", "own.py:make", "--data", "weights.pt"], "must hold two tensors"),
        (["dash", "weights.pt", "--model", "own.py:make", "--data", "no.pt"], "no file at no.pt, and no"),
        (["shrink_perturb", "weights.pt"], "needs newly initialized weights: give --fresh"),
        (["head_reset", "weights.pt", "--fresh", "fresh.pt"], "name it by --head"),
        (
            ["head_reset", "weights.pt", "--fresh", "fresh.pt", "--head", "9"],
            "no layer of the model named '9'",
        ),
        (["shrink", "weights.pt", "--model", "own.py:mak"], "there is no mak in own.py"),
        (["shrink", "weights.pt", "--model", "own.py"], "write FILE.py:function or module:function"),
        (["shrink", "weights.pt", "--model", "own.py:make(7)"], "its arguments need names"),
        (
            ["shrink", "weights.pt", "--model", "own.py:make(width=7)"],
            "(6, 1, 3, 3) in the file, and (7, 1, 3, 3)",
        ),
        (["shrink", "weights.pt", "--model", "own.py:make(depth=7)"], "unexpected keyword argument"),
        (["shrink", "weights.pt", "--model", "own.py:loss"], "raises TypeError"),
        (["shrink", "weights.pt", "--model", "builtins:str(object=3)"], "returns str"),
        (["shrink", "weights.pt", "--set", "factr=0.5"], "did you mean 'factor'"),
        (["l2_init", "weights.pt"], "L2Init cannot act once"),
        (["shrnk", "weights.pt"], "did you mean 'shrink'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(folder)
    new = tmp_path / f"new{Path(words[1]).suffix}"
    outcome = CliRunner().invoke(cli, ["remedy", *words[:2], str(new), *words[2:]])
    assert isinstance(outcome.exception, RequestError)
    assert message in str(outcome.exception)
    assert not list(tmp_path.iterdir())


def test_no_file_is_overwritten(folder: Path, tmp_path: Path) -> None:
    for new, message in (
        (folder / "weights.pt", "is the file itself"),
        (folder / "whole.pt", "is there already"),
        (tmp_path / "no" / "new.pt", "there is no folder"),
        (tmp_path / "new.safetensors", "another format"),
    ):
        with pytest.raises(RequestError, match=message):
            remedy(RemedyRequest(method="warm", old=folder / "weights.pt", new=new))


def test_the_command_says_what_it_has_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = ["--set", "shrink.factor=0.5", "--set", "batch_norm=keep"]
    command = ["remedy", "shrink", "whole.pt", str(tmp_path / "new.pt"), *words]
    outcome = CliRunner().invoke(cli, command)
    assert outcome.exit_code == 0, outcome.exception
    assert outcome.stdout.startswith(
        "Shrink: 6 of 9 tensors changed; optimizer state: clear; running statistics: keep"
    )
