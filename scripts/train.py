"""Trains a TCD model on a prepared data set: recipe from a YAML file, the command line, or both.

    accelerate launch scripts/train.py configs/tcd_textvr.yaml --data prepared/textvr --output runs/textvr
    accelerate launch --multi_gpu --num_processes 2 scripts/train.py configs/tcd_textvr.yaml --data ... --output ...

Several processes on the CPU, where `accelerate launch --cpu --num_processes 2` starts one:

    ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1 accelerate launch --multi_gpu --num_processes 2 scripts/train.py ...

What the command line names wins over the file; `--help` explains every field. A run that was stopped goes on with
`--resume`. The trained model is in OUTPUT/best.
"""

import logging
import sys

import datasets
import torch
from transformers import HfArgumentParser

from tcd_hf import load
from tcd_hf.training import TrainingRecipe, train
from tcd_hf.training.processes import end_process, make_accelerator
from tcd_hf.training.recipe import parse_recipe


def main(argv: list[str] | None = None) -> int:
    """Trains; returns the exit status."""
    parser = HfArgumentParser(
        TrainingRecipe,
        prog="train.py",
        usage="%(prog)s [RECIPE.yaml] [--field value ...]",
        description=__doc__.split("\n")[0],
        allow_abbrev=False,
    )
    recipe = parse_recipe(sys.argv[1:] if argv is None else argv, parser)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        accelerator = make_accelerator(recipe)
        prepared = datasets.load_from_disk(recipe.data)
        options = {"overrides": recipe.model_overrides, "seed": recipe.seed, "max_length": recipe.max_length}
        model, processor = load(recipe.model, **options, dtype=torch.float32)
        metrics = train(model, processor, prepared, recipe, accelerator)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if metrics:
        print(f"best validation R@1 from text to video: {metrics['t2v_R@1']:.3f}")
    return 0


if __name__ == "__main__":
    end_process(main())
