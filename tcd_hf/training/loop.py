"""The training loop: batches in order, one update each, an evaluation and a checkpoint at the end of every epoch."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from datasets import Dataset
from tqdm import tqdm

from tcd_hf.data.prepared_data import check_prepared
from tcd_hf.training.batching import BatchPlan, chunk_loader
from tcd_hf.training.gradient_caching import backward_of_batch, seed_step
from tcd_hf.training.optimisation import make_optimizer, make_scheduler
from tcd_hf.training.processes import check_processes, make_accelerator
from tcd_hf.training.recipe import TrainingRecipe
from tcd_hf.training.run_state import Run
from tcd_hf.training.validation import check_validation

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["train"]

logger = logging.getLogger(__name__)


def train(
    model: "TCDModel",
    processor: "TCDProcessor",
    datasets: Mapping[str, Dataset],
    recipe: TrainingRecipe,
    accelerator: Accelerator | None = None,
) -> dict[str, float]:
    """
    Trains a model. Under `output` of the recipe it leaves

    - `best/`: model and processor for `from_pretrained`, best on the validation split by R@1 from text to video (ties:
      mean reciprocal rank), or the last if there is no such split; `recipe.yaml` and `provenance.json` beside them;
    - `training_log.jsonl`: losses of every step and its `seconds`, of which `loading_seconds` went by waiting for data;
      and metrics of every epoch;
    - `checkpoint.safetensors`: the last state. With `resume` a run continues from it as if it had never stopped.

    Call it in every process. The test split is never read.

    Args:
        model ([`TCDModel`]): trained in place, not wrapped.
        processor ([`TCDProcessor`]): of the model.
        datasets (`Mapping[str, datasets.Dataset]`): prepared; split `train`, and `validation` if there is one.
            Videos of `train` without captions are left out, with a warning.
        recipe ([`TrainingRecipe`])
        accelerator (`Accelerator`, *optional*): made by the recipe if not given.

    Returns:
        `dict[str, float]`: validation metrics of `best`; empty without a validation split, and in processes other than
        the main one.

    Raises:
        ValueError: what does not fit together, or a run in `output` that was not asked to go on.
    """
    accelerator = accelerator or make_accelerator(recipe)
    check_run(model, processor, datasets, recipe, accelerator)
    videos = captioned(datasets["train"], warn=accelerator.is_main_process)
    plan = BatchPlan(videos, recipe.batch_size, recipe.seed, recipe.group_by_negatives, recipe.epoch_of)
    num_steps = recipe.max_steps or recipe.epochs * plan.steps_per_epoch

    model.to(accelerator.device).train()
    if recipe.gradient_checkpointing:
        # Older releases of transformers know it by another name.
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    run = Run(model, processor, make_optimizer(model, recipe), recipe, accelerator)
    run.start(len(videos))
    scheduler = make_scheduler(run.optimizer, recipe.warmup_share, num_steps, run.step)

    size = recipe.batch_size // accelerator.num_processes
    share = slice(accelerator.process_index * size, (accelerator.process_index + 1) * size)
    loader = chunk_loader(videos, processor, plan, recipe, (run.step, num_steps), share)
    with tqdm(total=num_steps, initial=run.step, disable=not accelerator.is_main_process) as progress:
        while run.step < num_steps:
            loss = make_step(run, scheduler, loader, plan.steps_per_epoch)
            progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
            progress.update()
            ends_epoch = run.step % plan.steps_per_epoch == 0 or run.step == num_steps
            if ends_epoch and "validation" in datasets:
                run.evaluate(datasets["validation"], recipe.chunk_size or size)
            if ends_epoch or (recipe.save_every and run.step % recipe.save_every == 0):
                run.save()
    return run.end()


def make_step(run: Run, scheduler: Any, loader: Iterator[list[dict]], steps_per_epoch: int) -> float:
    """
    Updates the weights by the next batch, and writes a line of the log.

    Args:
        run ([`Run`]): under way.
        scheduler (`torch.optim.lr_scheduler.LRScheduler`): of its optimiser.
        loader (`Iterator[list[dict]]`): gives the chunks of the batch, see [`chunk_loader`].
        steps_per_epoch (`int`): for the log.

    Returns:
        The loss before the update.

    Raises:
        ValueError: the loss is not finite.
    """
    recipe, started = run.recipe, time.perf_counter()
    chunks = next(loader)
    loaded = time.perf_counter()
    losses = backward_of_batch(run.model, chunks, run.accelerator, partial(seed_step, recipe.seed, run.step))
    loss = losses["loss"].item()
    if not math.isfinite(loss):
        raise ValueError(
            f"The loss of step {run.step + 1} is {loss}. Weights are as the last step left them; the "
            "learning rates may be too high."
        )
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), recipe.max_grad_norm)
    rates = scheduler.get_last_lr()
    run.optimizer.step()
    scheduler.step()
    run.optimizer.zero_grad()
    run.step += 1
    run.log(
        run.step,
        epoch=(run.step - 1) // steps_per_epoch + 1,
        **{name: value.item() for name, value in losses.items()},
        grad_norm=norm.item(),
        learning_rate=float(rates[-1]),
        backbone_learning_rate=float(rates[0]) if recipe.backbone_learning_rate else 0.0,
        seconds=round(time.perf_counter() - started, 4),
        loading_seconds=round(loaded - started, 4),
    )
    return loss


def check_run(
    model: "TCDModel",
    processor: "TCDProcessor",
    datasets: Mapping[str, Dataset],
    recipe: TrainingRecipe,
    accelerator: Accelerator,
) -> None:
    """
    Refuses what would fail later, or train something else than meant.

    Raises:
        ValueError: see [`train`].
    """
    check_processes(accelerator.num_processes, recipe)
    if accelerator.mixed_precision != recipe.mixed_precision:
        raise ValueError(
            f"`mixed_precision` of the recipe is {recipe.mixed_precision!r}, that of the accelerator "
            f"{accelerator.mixed_precision!r}. Give both the same, or no accelerator."
        )
    if "train" not in datasets:
        raise ValueError(f'The data set needs a split "train"; it has {list(datasets)}.')
    if processor.num_frames != model.config.num_frames:
        raise ValueError(
            f"The processor makes {processor.num_frames} frames of a video, the model takes {model.config.num_frames} "
            "(`num_frames` of both)."
        )
    check_prepared(datasets["train"], processor)
    if "validation" in datasets:
        check_prepared(datasets["validation"], processor)
        check_validation(datasets["validation"], accelerator.num_processes)
    else:
        logger.warning('There is no split "validation": the last weights will count as the best.')


def captioned(dataset: Dataset, warn: bool) -> Dataset:
    """The videos that have a caption: others would have no text as their pair. Warns if there are others."""
    rows = [row for row, captions in enumerate(dataset["captions"]) if captions]
    bare = len(dataset) - len(rows)
    if bare and warn:
        logger.warning("%d of %d videos to train on have no caption and are left out.", bare, len(dataset))
    return dataset.select(rows) if bare else dataset
