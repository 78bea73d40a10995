"""The processes of a run: as many as were asked for, started alike, ended cleanly."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch.distributed as dist
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType, broadcast

from tcd_hf.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel

__all__ = ["check_processes", "end_process", "make_accelerator", "make_equal"]

LINES_THAT_WORK = (
    "On GPUs: `accelerate launch --multi_gpu --num_processes N -m tcd_hf.training ...`. On the CPU, where `accelerate "
    "launch --cpu --num_processes N` starts one process only: `ACCELERATE_USE_CPU=true OMP_NUM_THREADS=1 accelerate "
    "launch --multi_gpu --num_processes N -m tcd_hf.training ...`."
)


def make_accelerator(recipe: TrainingRecipe) -> Accelerator:
    """
    The accelerator of a run.

    Raises:
        ImportError: a tracker that is not installed, of which accelerate would merely warn.
    """
    missing = sorted(set(recipe.report_to) & set(LoggerType.list()) - {str(each) for each in get_available_trackers()})
    if missing:
        raise ImportError(
            f"`report_to` names {missing}, which are not installed: pip install {' '.join(missing)}, or leave them out."
        )
    return Accelerator(
        mixed_precision=recipe.mixed_precision, log_with=[*recipe.report_to] or None, project_dir=recipe.output
    )


def check_processes(num_processes: int, recipe: TrainingRecipe, environment: Mapping[str, str] = os.environ) -> None:
    """Refuses a number of processes that is not the one that was meant, or does not fit the batch.

    Args:
        num_processes (`int`): that there are.
        recipe ([`TrainingRecipe`]): may say how many there should be, and gives the size of a batch.
        environment (`Mapping`, *optional*): of this process.

    Raises:
        ValueError: another number than the recipe says, a lone process where `accelerate launch` was asked for several,
            or a batch that they cannot share evenly.
    """
    if recipe.num_processes not in (None, num_processes):
        raise ValueError(
            f"`num_processes` of the recipe is {recipe.num_processes}, but {num_processes} run. {LINES_THAT_WORK}"
        )
    # Of several processes each is told how many there are. A launcher that prepares their meeting and tells nothing has
    # started one and forgotten the others.
    launched_alone = "ACCELERATE_MIXED_PRECISION" in environment and "WORLD_SIZE" not in environment
    if recipe.num_processes is None and num_processes == 1 and launched_alone and "MASTER_PORT" in environment:
        raise ValueError(
            f"`accelerate launch` was asked for several processes, but started one. {LINES_THAT_WORK} If one is what "
            "you want, say so by `--num_processes 1` after `tcd_hf.training`."
        )
    if recipe.batch_size % num_processes:
        raise ValueError(
            f"`batch_size` is the number of pairs over all processes and must be a multiple of their number, "
            f"{num_processes}; got {recipe.batch_size}."
        )


def make_equal(model: "TCDModel") -> None:
    """Gives all processes the weights of the first."""
    for tensor in model.state_dict().values():
        tensor.copy_(broadcast(tensor))


def end_process(status: int) -> None:
    """
    Ends a script with that exit status. One of several processes skips what Python does at its end: threads of the
    process group may outlive it there, and abort a run that went well.
    """
    if not (dist.is_available() and dist.is_initialized()):
        raise SystemExit(status)
    if status == 0:
        dist.barrier()
        dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
