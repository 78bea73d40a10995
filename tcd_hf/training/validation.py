"""Retrieval on the validation split, each process embedding its share of the videos."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset

from tcd_hf.evaluation.embedding import embed_dataset
from tcd_hf.evaluation.evaluate_model import query_types_of, rank
from tcd_hf.evaluation.report import ALL_QUERIES, summarise_by_query_type
from tcd_hf.modeling.outputs import TCDVideoFeatures

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["check_validation", "validate"]


def check_validation(dataset: Dataset, num_processes: int) -> None:
    """Refuses a validation split that cannot be shared out.

    Raises:
        ValueError: so few videos that a process would have none with a caption to embed.
    """
    for process in range(num_processes):
        if not any(_share(dataset, process, num_processes)["captions"]):
            raise ValueError(
                f"The validation split has {len(dataset)} videos; share {process + 1} of {num_processes} holds none "
                "with a caption. Use fewer processes, or a larger split."
            )


def validate(
    model: "TCDModel",
    processor: "TCDProcessor",
    dataset: Dataset,
    accelerator: Accelerator,
    batch_size: int = 32,
) -> dict[str, float] | None:
    """
    Metrics of all captions of all videos, by the whole score.

    Args:
        model ([`TCDModel`]): put in evaluation mode, and back.
        processor ([`TCDProcessor`]): of the model.
        dataset (`datasets.Dataset`): prepared.
        accelerator (`Accelerator`)
        batch_size (`int`, *optional*, defaults to 32): videos, and captions, that go through the towers at once.

    Returns:
        `dict[str, float]` in the main process: `t2v_R@1` and the others of [`compute_retrieval_metrics`], and, where
        types of queries are known, `t2v_R@1/TYPE` of each. `None` in other processes.
    """
    was_training = model.training
    model.eval()
    share = _share(dataset, accelerator.process_index, accelerator.num_processes)
    with accelerator.autocast():
        texts, _, videos = embed_dataset(model, processor, share, batch_size, progress=False)
    model.train(was_training)

    texts = _gather_rows(texts.float(), accelerator)
    gathered: dict[str, Any] = {name: _gather_rows(rows, accelerator) for name, rows in videos.items()}
    videos = TCDVideoFeatures(**gathered)
    if not accelerator.is_main_process:
        return None
    model.eval()
    text_to_video = np.repeat(np.arange(len(dataset)), [len(captions) for captions in dataset["captions"]])
    ranks = rank(model, texts, text_to_video, videos)
    model.train(was_training)
    results = summarise_by_query_type(ranks, query_types_of(dataset))
    overall = results.pop(ALL_QUERIES)
    return {
        **{
            f"{way}_{name}": value for way, part in overall.items() for name, value in part.items() if name != "queries"
        },
        **{f"t2v_R@1/{name}": part["t2v"]["R@1"] for name, part in results.items()},
    }


def _share(dataset: Dataset, process: int, num_processes: int) -> Dataset:
    return dataset.shard(num_processes, process, contiguous=True)


def _gather_rows(rows: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """Rows of all processes, of which each may have another number, in order of the processes."""
    if accelerator.num_processes == 1:
        return rows
    counts: Any = accelerator.gather(torch.tensor([len(rows)], device=accelerator.device))
    kind = rows.dtype
    rows = rows.to(torch.uint8) if kind == torch.bool else rows  # not every backend takes masks
    gathered: Any = accelerator.gather(accelerator.pad_across_processes(rows.contiguous(), dim=0))
    counts = counts.tolist()
    pieces = gathered.split(max(counts))
    return torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)]).to(kind)
