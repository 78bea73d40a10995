"""A model on a prepared data set: embed it, score every text against every video, rank, report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset

from tcd_hf.choices import EvaluationMode, ScoreNormalisation
from tcd_hf.data.prepared_data import check_prepared
from tcd_hf.evaluation.embedding import embed_dataset, embed_texts
from tcd_hf.evaluation.metrics import retrieval_ranks
from tcd_hf.evaluation.moment_ranking import evaluate_moments
from tcd_hf.evaluation.published import check_normalisations, clip4clip_ranks, dual_softmax_ranks, qb_norm_ranks
from tcd_hf.evaluation.report import summarise_by_query_type
from tcd_hf.evaluation.two_stage import pair_scorer, two_stage_ranks
from tcd_hf.index.fusing import Fusion
from tcd_hf.modeling.outputs import TCDVideoFeatures

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["Evaluation", "curves_by_query_type", "evaluate_model", "query_types_of", "rank"]

TEXTS_AT_ONCE = 4096  # whose whole scores, and the parts of them, are on the device of the model


class Evaluation(NamedTuple):
    """What a model is worth on a data set.

    Attributes:
        results (`dict`): retrieval metrics, as [`summarise_by_query_type`] gives them.
        ranks (`dict[str, np.ndarray]`): what they summarise, as [`rank`] gives them; and beside them, named after their
            papers, those of [`clip4clip_ranks`] and of what was asked for by `also`.
        moments (`dict`, *optional*): metrics of moments, as [`evaluate_moments`] gives them; `None` for a data set
            whose captions have no times.
    """

    results: dict[str, dict[str, dict[str, float]]]
    ranks: dict[str, np.ndarray]
    moments: dict[str, dict[str, float]] | None


def evaluate_model(
    model: "TCDModel",
    processor: "TCDProcessor",
    dataset: Dataset,
    mode: EvaluationMode = "full",
    top_k: int = 50,
    batch_size: int = 32,
    progress: bool = True,
    also: Sequence[ScoreNormalisation] = (),
    query_bank: Sequence[str] = (),
    accelerator: Accelerator | None = None,
) -> Evaluation:
    """Metrics of a model on a prepared data set, in both directions and by type of query where that is known; and of
    moments, where its captions have times: these are scored in the same way whatever the mode.

    Args:
        model, processor, dataset, batch_size, progress, accelerator: see [`embed_dataset`]. Of several processes, all
            get the same.
        mode, top_k: see [`rank`].
        also (sequence of `"dual-softmax"` and `"qb-norm"`, *optional*): report these as well, under names of their own.
            Neither is retrieval: see [`dual_softmax_ranks`] and [`qb_norm_ranks`]. Not with `"two-stage"`.
        query_bank (`Sequence[str]`, *optional*): training captions, for `"qb-norm"`.

    Returns:
        [`Evaluation`]

    Raises:
        ValueError: data prepared for another model, or `"qb-norm"` without a bank; or see [`embed_dataset`] and
            [`rank`].
    """
    check_mode(mode)  # before hours of embedding
    check_normalisations(also, mode)
    if "qb-norm" in also and not query_bank:
        raise ValueError("'qb-norm' needs a query bank, captions of the training split: give `query_bank`.")
    check_prepared(dataset, processor)
    texts, text_to_video, videos = embed_dataset(model, processor, dataset, batch_size, progress, accelerator)
    if mode == "two-stage":
        ranks = rank(model, texts, text_to_video, videos, mode, top_k)
    else:
        similarity = np.concatenate(list(_score_blocks(model, texts, videos, mode)))
        ranks = retrieval_ranks(similarity, text_to_video) | clip4clip_ranks(similarity, text_to_video)
        if "dual-softmax" in also:
            scale = model.logit_scale.exp().item()
            ranks |= dual_softmax_ranks(similarity, text_to_video, scale)
        if "qb-norm" in also:
            bank = embed_texts(model, processor, list(dict.fromkeys(query_bank)), batch_size, progress)
            ranks |= qb_norm_ranks(similarity, text_to_video, _score_blocks(model, bank, videos, mode))
    query_types = query_types_of(dataset)
    moments = evaluate_moments(dataset, texts, videos, query_types, Fusion.of(model.config))
    return Evaluation(summarise_by_query_type(ranks, query_types), ranks, moments)


@torch.inference_mode()
def rank(
    model: "TCDModel",
    text_embeds: torch.Tensor,
    text_to_video: np.ndarray,
    video_features: TCDVideoFeatures,
    mode: EvaluationMode = "full",
    top_k: int = 50,
) -> dict[str, np.ndarray]:
    """Ranks of the right answers by a model's scores of embeddings.

    Args:
        model ([`TCDModel`]): in evaluation mode.
        text_embeds, text_to_video, video_features: as [`embed_dataset`] gives them.
        mode (`"full"`, `"two-stage"` or `"coarse"`, *optional*, defaults to `"full"`): the whole score of every pair;
            the whole score of the candidates that the coarse vectors name; or the coarse vectors alone.
        top_k (`int`, *optional*, defaults to 50): candidates of a query, with `"two-stage"`.

    Returns:
        `dict[str, np.ndarray]`: by direction, as [`retrieval_ranks`] or [`two_stage_ranks`] gives them.

    Raises:
        ValueError: another mode; or see [`retrieval_ranks`] and [`two_stage_ranks`].
    """
    check_mode(mode)
    if mode != "two-stage":
        return retrieval_ranks(
            np.concatenate(list(_score_blocks(model, text_embeds, video_features, mode))), text_to_video
        )
    coarse = np.concatenate(list(_score_blocks(model, text_embeds, video_features, "coarse")))
    if model.config.text_condition == "after":
        video_features = model.precompute(video_features)
    return two_stage_ranks(coarse, text_to_video, pair_scorer(model, text_embeds, video_features), top_k)


@torch.inference_mode()
def _score_blocks(
    model: "TCDModel", text_embeds: torch.Tensor, video_features: TCDVideoFeatures, mode: EvaluationMode
) -> Iterator[np.ndarray]:
    """Scores of all pairs, `(num_texts, num_videos)`, by blocks of texts."""
    for texts in text_embeds.split(TEXTS_AT_ONCE):
        if mode == "full":
            yield model.score(texts, video_features).similarity.cpu().numpy()
        else:
            yield (model.get_coarse_queries(texts) @ video_features.coarse_embeds.float().T).cpu().numpy()


def query_types_of(dataset: Dataset) -> list[str] | None:
    """What kind of query each caption of a prepared data set is, in the order of [`embed_dataset`]; `None` if that is
    known of none, `"other"` for one of which it is not."""
    if "query_types" not in dataset.column_names:
        return None
    types = [each for of_video in dataset["query_types"] for each in of_video]
    return [each or "other" for each in types] if any(types) else None


def curves_by_query_type(
    ranks: Mapping[str, np.ndarray], query_types: list[str] | None = None
) -> dict[str, np.ndarray]:
    """What [`plot_ranks`] draws: the ranks of both directions, and of text to video for each type of query."""
    curves = {"text to video": ranks["t2v"], "video to text": ranks["v2t"]}
    for name in dict.fromkeys(query_types or ()):
        curves[f"text to video, {name}"] = ranks["t2v"][np.array(query_types) == name]
    return curves


def check_mode(mode: EvaluationMode) -> None:
    if mode not in get_args(EvaluationMode):
        raise ValueError(f"mode must be one of {', '.join(map(repr, get_args(EvaluationMode)))}, got {mode!r}.")
