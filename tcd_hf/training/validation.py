"""Retrieval on the validation split, each process embedding its share of the videos."""

from typing import TYPE_CHECKING

from accelerate import Accelerator
from datasets import Dataset

from tcd_hf.evaluation.embedding import embed_dataset
from tcd_hf.evaluation.evaluate_model import query_types_of, rank
from tcd_hf.evaluation.report import ALL_QUERIES, summarise_by_query_type

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["check_validation", "validate"]


def check_validation(dataset: Dataset, num_processes: int) -> None:
    """Refuses a validation split that cannot be shared out.

    Raises:
        ValueError: fewer videos or different captions than processes, or no caption.
    """
    num_captions = len({caption for of_video in dataset["captions"] for caption in of_video})
    if min(len(dataset), num_captions) < num_processes:
        raise ValueError(
            f"The validation split has {len(dataset)} videos and {num_captions} different captions, too few for "
            f"{num_processes} process{'es' * (num_processes > 1)}. Use fewer processes, or a larger split."
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
    with accelerator.autocast():
        texts, text_to_video, videos = embed_dataset(
            model, processor, dataset, batch_size, progress=False, accelerator=accelerator
        )
    texts = texts.float()
    model.train(was_training)
    if not accelerator.is_main_process:
        return None
    model.eval()
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
