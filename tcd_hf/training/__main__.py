"""Trains a model by a recipe: TCD's losses, EERCF's, or both.

    accelerate launch -m tcd_hf.training tcd_textvr --data prepared/textvr --output runs/textvr
    accelerate launch --multi_gpu --num_processes 2 -m tcd_hf.training mine.yaml --data ... --output ...

Several processes on the CPU, where `accelerate launch --cpu --num_processes 2` starts one:

    ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1 accelerate launch --multi_gpu --num_processes 2 -m tcd_hf.training ...

`tcd-hf recipes` lists the recipes that the package brings. What the command line names wins over the recipe; `--help`
explains every field. A run that was stopped goes on with `--resume`. The trained model is in OUTPUT/best.
"""

import logging
import sys
from typing import Any, cast

import torch
import typer
from datasets import DatasetDict
from transformers import HfArgumentParser

from tcd_hf import load
from tcd_hf.cli.common import quieten_bars, reports_errors
from tcd_hf.training import TrainingRecipe, train
from tcd_hf.training.processes import end_process, make_accelerator
from tcd_hf.training.recipe import parse_recipe

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Trains as the command line says, and returns the exit status."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = HfArgumentParser(
        cast(Any, TrainingRecipe),
        prog="accelerate launch -m tcd_hf.training",
        usage="%(prog)s [RECIPE] [--field value ...]",
        description=f"{summary} RECIPE is a name that `tcd-hf recipes` lists, or a YAML file.",
        allow_abbrev=False,
    )
    recipe = parse_recipe(sys.argv[1:] if argv is None else argv, parser)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        _train(recipe)
    except typer.Exit as end:
        return end.exit_code
    return 0


@reports_errors
def _train(recipe: TrainingRecipe) -> None:
    quieten_bars()
    accelerator = make_accelerator(recipe)
    prepared = {str(split): rows for split, rows in DatasetDict.load_from_disk(recipe.data).items()}
    options = {"overrides": recipe.model_overrides, "seed": recipe.seed, "max_length": recipe.max_length}
    model, processor = load(recipe.model, **options, dtype=torch.float32)
    metrics = train(model, processor, prepared, recipe, accelerator)
    if metrics:
        print(f"best validation R@1 from text to video: {metrics['t2v_R@1']:.3f}")


if __name__ == "__main__":
    end_process(main())
