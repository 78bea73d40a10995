"""The runs of the ablation, one a job, and their files.

Started processes find a function by the name of its module, and do not import a package's `__main__` for that: hence a
module of its own.
"""

import json
import os
from pathlib import Path

from scripts.ablation.training import train_and_evaluate
from scripts.frozen_towers.features import Features

__all__ = ["features", "prepare", "read", "run_job", "write"]

_folder: Path | None = None
features: dict[str, Features] = {}  # of each split, once this process is prepared


def prepare(folder: Path, encoded: dict[str, Path]) -> None:
    """What all runs of a process share."""
    global _folder
    _folder = folder
    features.update({split: Features.load(path) for split, path in encoded.items()})


def run_job(job: tuple) -> str:
    """Trains and evaluates one row and seed, `(path, row, seed, recipe, split)`, writes the result to the path, and
    says it in a line.
    """
    path, name, seed, recipe, split = job
    result = train_and_evaluate(name, seed, recipe, _folder, features, split)
    write(path, result)
    recall, rates = result["results"]["full"]["metrics"]["all queries"]["t2v"]["R@1"], recipe[1:3]
    return (
        f"{name}, seed {seed}, {split}, rates {rates[0]:g} and {rates[1]:g}: R@1 {recall:.3f}; "
        f"{result['training']['seconds']:.0f} s to train, {result['evaluation_seconds']:.0f} s to rank"
    )


def write(path: Path, content: dict) -> None:
    """JSON that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def read(path: Path) -> dict:
    """What `write` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
