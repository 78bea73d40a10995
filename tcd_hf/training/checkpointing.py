"""
A run's state in one safetensors file: weights, moments of AdamW, and where the run is.

One file, because a file can be replaced at one stroke: whenever a run is killed, the last checkpoint is whole.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel

__all__ = ["load_checkpoint", "remove_unfinished", "replace_folder", "save_checkpoint"]


def save_checkpoint(path: Path, model: "TCDModel", optimizer: torch.optim.Optimizer, progress: dict) -> None:
    """Writes a checkpoint, whole or not at all, in the place of the one before.

    Args:
        path (`Path`): of the file, which is replaced.
        model ([`TCDModel`])
        optimizer (`torch.optim.AdamW`): its groups name their weights, see [`parameter_groups`].
        progress (`dict`): what else a run must know to go on; written as JSON.
    """
    tensors = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    for name, weight in _trained(optimizer):
        for kind, value in optimizer.state.get(weight, {}).items():
            tensors[f"optimizer.{kind}.{name}"] = value
    remove_unfinished(path)
    folder = _unfinished(path)
    folder.mkdir()
    save_file(
        {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
        folder / path.name,
        metadata={"progress": json.dumps(progress)},
    )
    os.replace(folder / path.name, path)
    folder.rmdir()


def remove_unfinished(path: Path) -> None:
    """Removes what a killed run has left of a checkpoint that it was writing."""
    shutil.rmtree(_unfinished(path), ignore_errors=True)


def _unfinished(path: Path) -> Path:
    """A folder of its own for what is written, as safetensors has temporary files with names of its choice."""
    return path.with_name(f".{path.name}.part")


def load_checkpoint(path: Path, model: "TCDModel", optimizer: torch.optim.Optimizer) -> dict:
    """
    Puts weights and moments back.

    Args:
        path, model, optimizer: see [`save_checkpoint`].

    Returns:
        `dict`: the progress.

    Raises:
        ValueError: the file is of another model.
    """
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        own = {f"model.{name}" for name in model.state_dict()}
        saved = {name for name in names if name.startswith("model.")}
        if own != saved:
            raise ValueError(
                f"{path} is a checkpoint of another model: it lacks {sorted(own - saved)} and has "
                f"{sorted(saved - own)} beyond it. Give the recipe that it was made by, or another --output."
            )
        model.load_state_dict({name.removeprefix("model."): file.get_tensor(name) for name in saved})
        for name, weight in _trained(optimizer):
            kinds = [kind for kind in ("step", "exp_avg", "exp_avg_sq") if f"optimizer.{kind}.{name}" in names]
            moments = {kind: file.get_tensor(f"optimizer.{kind}.{name}") for kind in kinds}
            # AdamW counts its steps on the CPU, whatever the device of the weights.
            optimizer.state[weight] = {
                kind: value if kind == "step" else value.to(weight.device) for kind, value in moments.items()
            }
        return json.loads(file.metadata()["progress"])


def replace_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder beside `path` and puts it there; what was there before is kept until the new one is whole."""
    new, old = path.with_name(path.name + ".new"), path.with_name(path.name + ".old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    write(new)
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def _trained(optimizer: torch.optim.Optimizer):
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)
