"""
Coarse-to-fine representation (EERCF, AAAI 2024): one coarse vector per video for recall, then scores of finer grain.

The text-gated interaction block (TIB) lets a text weigh the frames of a video by its cosines with them. The score of a
text and its gated frames needs no gated frame of any pair: with gates `g`, dot products `d_i = s v_i` and the table of
dot products `G` between a video's own frames it is `g.d / |g|_G` (ours; the published evaluation builds them all).

Texts are the last dimension of everything that pairs have, `(num_videos, num_frames, num_texts)`.
"""

from functools import reduce

import torch
from torch import nn

from .co_attention import starts_as
from .factorized_scoring import gated_cosine, hidden, tables_of, with_tables
from .outputs import TCDVideoFeatures
from .pair_scorer import PairScorer

__all__ = [
    "MixedScorer",
    "PearsonConstraint",
    "identity_projection",
    "paired_gated_embeds",
    "rerank_weights",
    "training_weights",
    "weak_scores",
]

SMALLEST_STD = 1e-6  # what varies less is constant but for rounding: embeddings have unit length


class PearsonConstraint(nn.Module):
    """
    Pulls the correlation matrix `C` of two batches of features towards the identity: `diagonal_weight * sum_d (C_dd -
    1)^2 + off_diagonal_weight * sum_{d != e} C_de^2`. Every dimension is standardised over the batch, by the biased
    standard deviation, so that equal features give `C_dd = 1` (ours).

    Requirements:
        A dimension that is constant over the batch, on either side, adds nothing (ours); so a batch of one gives 0.

    Inputs:
        Two batches of features `(batch_size, dim)` of about unit length, row `i` of one paired with row `i` of the
        other: the batches of all processes, gathered.

    Args:
        diagonal_weight (`float`, *optional*, defaults to 0.14)
        off_diagonal_weight (`float`, *optional*, defaults to 0.0): 0 saves the matrix.
    """

    def __init__(self, diagonal_weight: float = 0.14, off_diagonal_weight: float = 0.0):
        super().__init__()
        self.diagonal_weight = diagonal_weight
        self.off_diagonal_weight = off_diagonal_weight

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Returns the loss, a float32 scalar."""
        left, left_varies = standardise(left.float())
        right, right_varies = standardise(right.float())
        diagonal = (left * right).mean(dim=0)
        loss = self.diagonal_weight * ((diagonal - 1).square() * (left_varies & right_varies)).sum()
        if self.off_diagonal_weight:
            correlations = left.T @ right / len(left)
            squares = correlations.square().sum() - correlations.diagonal().square().sum()
            loss = loss + self.off_diagonal_weight * squares
        return loss


def standardise(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features `(batch_size, dim)` with mean 0 and deviation 1, and 0 where they are constant; which ones vary."""
    centred = features - features.mean(dim=0)
    variance = centred.square().mean(dim=0)
    varies = variance > SMALLEST_STD**2
    return centred * varies / variance.clamp(min=SMALLEST_STD**2).sqrt(), varies


def rerank_weights(config) -> dict[str, float]:
    """Weights of the scores that rank, by the names of [`MixedScorer`], with sum 1; those of weight 0 left out."""
    names = ["video", "frame", "tib_frame"] + ["patch", "tib_patch"] * config.use_patch_features
    weights = {name: getattr(config, f"rerank_{name}_weight") for name in names}
    return {name: weight / sum(weights.values()) for name, weight in weights.items() if weight}


def training_weights(config) -> dict[str, float]:
    """Weights of the scores that the coarse loss trains, by the names of [`MixedScorer`]."""
    names = ["video", "frame"] + ["patch"] * config.use_patch_features
    return {name: getattr(config, f"training_{name}_weight") for name in names}


class MixedScorer(PairScorer):
    """
    Gives the weighted sum of scores of different grain.

    Args:
        model ([`TCDModel`]): with `interaction="tib"`.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        weights (`dict[str, float]`): of `"video"` (coarse vectors), `"frame"` and `"patch"` (weak scores),
            `"tib_frame"` and `"tib_patch"` (text-gated features); what is not named is not computed.
        as_written (`bool`, *optional*, defaults to `False`): make the gated moments of each pair. Slow.
    """

    def __init__(self, model, text_embeds: torch.Tensor, weights: dict[str, float], as_written: bool = False):
        super().__init__(model, text_embeds)
        self.frame_projection = model.frame_projection
        self.weights, self.as_written = weights, as_written
        self.coarse_queries = model.get_coarse_queries(self.text)

    def prepare(self, videos: TCDVideoFeatures) -> TCDVideoFeatures:
        """The videos in float32, and with tables if the mix reads them."""
        videos = super().prepare(videos)
        return with_tables(videos) if "tib_frame" in self.weights and not self.as_written else videos

    def pair_elements(self, videos: TCDVideoFeatures) -> int:
        """Elements of one pair's cosines with frames or patches, or of its gated sum or gated moments."""
        (num_moments, dim), has_patches = videos.frame_embeds.shape[1:], self.config.use_patch_features
        if has_patches and videos.patch_embeds is not None:
            num_moments *= videos.patch_embeds.shape[2]
        return num_moments * dim if self.as_written else max(num_moments, dim * has_patches)

    def __call__(self, texts: slice, videos: TCDVideoFeatures) -> dict[str, torch.Tensor]:
        """See [`PairScorer`]; `similarity` and `text_video` are both the mix."""
        text, scores = self.text[texts], {}
        if "video" in self.weights:
            scores["video"] = (videos.coarse_embeds @ self.coarse_queries[texts].T).T
        if {"frame", "tib_frame"} & set(self.weights):
            scores |= self._frame_scores(text, videos)
        if {"patch", "tib_patch"} & set(self.weights):
            scores |= self._patch_scores(text, videos)
        similarity = reduce(torch.add, (weight * scores[name] for name, weight in self.weights.items()))
        return {"similarity": similarity, "text_video": similarity}

    def _frame_scores(self, text: torch.Tensor, videos: TCDVideoFeatures) -> dict[str, torch.Tensor]:
        cosines, scores = videos.frame_embeds @ text.T, {}  # (num_videos, num_frames, num_texts)
        mask = videos.visible_frames()[..., None]
        if "frame" in self.weights:
            scores["frame"] = weak_scores(cosines, self.config.weak_temperature, self.frame_projection, mask)
        if "tib_frame" in self.weights:
            gates = (cosines / self.config.tib_frame_temperature + hidden(mask)).softmax(dim=1)
            frames = videos.fused_frame_embeds
            if self.as_written:
                scores["tib_frame"] = built_gated_scores(gates, text, frames)
            else:
                scores["tib_frame"] = gated_cosine(gates, frames @ text.T, tables_of(videos).frame_gram)
        return scores

    def _patch_scores(self, text: torch.Tensor, videos: TCDVideoFeatures) -> dict[str, torch.Tensor]:
        patches = videos.patches()  # (num_videos, num_frames * num_patches, dim)
        cosines, scores = patches @ text.T, {}
        mask = videos.visible_patches()[..., None]
        if "patch" in self.weights:
            scores["patch"] = weak_scores(cosines, self.config.weak_temperature, mask=mask)
        if "tib_patch" in self.weights:
            gates = (cosines / self.config.tib_patch_temperature + hidden(mask)).softmax(dim=1)
            # A table of dot products between all patches of a video would be larger than their gated sums.
            gated_scores = built_gated_scores if self.as_written else summed_gated_scores
            scores["tib_patch"] = gated_scores(gates, text, patches)
        return scores


def weak_scores(
    cosines: torch.Tensor,
    temperature: float,
    projection: nn.Linear | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    `sum_i a_i (softmax(a / temperature) W_f)_i`: cosines weighed by themselves, near their maximum.

    Args:
        cosines (`torch.FloatTensor` of shape `(num_videos, num_moments, num_texts)`): of frames or patches with texts.
        temperature (`float`): above 0.
        projection (`nn.Linear`, *optional*): `W_f`, for videos of as many moments as it has inputs; the identity for
            others (ours).
        mask (`torch.BoolTensor` of shape `(num_videos, num_moments, 1)`, *optional*): moments that count, at least one
            a video; all by default.

    Returns:
        `torch.FloatTensor` of shape `(num_texts, num_videos)`.
    """
    logits = cosines / temperature
    if mask is not None:
        logits, cosines = logits + hidden(mask), cosines * mask
    shares = logits.softmax(dim=1)
    if projection is not None and projection.in_features == cosines.shape[1]:
        shares = projection.weight.float() @ shares
    return (cosines * shares).sum(dim=1).T


def summed_gated_scores(gates: torch.Tensor, text_embeds: torch.Tensor, moment_embeds: torch.Tensor) -> torch.Tensor:
    """
    Cosines of texts with the gated moments of videos, from one sum a pair.

    Args:
        gates (`torch.FloatTensor` of shape `(num_videos, num_moments, num_texts)`): of frames or patches by texts.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        moment_embeds (`torch.FloatTensor` of shape `(num_videos, num_moments, dim)`): what the gates act on.

    Returns:
        `torch.FloatTensor` of shape `(num_texts, num_videos)`.
    """
    gated = gates.mT @ moment_embeds  # (num_videos, num_texts, dim)
    return torch.einsum("btd,td->tb", nn.functional.normalize(gated, dim=-1), text_embeds)


def built_gated_scores(gates: torch.Tensor, text_embeds: torch.Tensor, moment_embeds: torch.Tensor) -> torch.Tensor:
    """
    The same as it is written, from every gated moment of each pair. Slow.

    Arguments and result are those of [`summed_gated_scores`].
    """
    gated = gates[..., None] * moment_embeds[:, :, None]  # (num_videos, num_moments, num_texts, dim)
    return torch.einsum("btd,td->tb", nn.functional.normalize(gated.sum(dim=1), dim=-1), text_embeds)


def identity_projection(dim: int) -> nn.Linear:
    """A projection `(dim, dim)` without bias that is the identity until it is trained."""
    return starts_as("eye", nn.Linear(dim, dim, bias=False))


def paired_gated_embeds(
    text_embeds: torch.Tensor,
    gate_embeds: torch.Tensor,
    moment_embeds: torch.Tensor,
    temperature: float,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    In training, each video has one gated vector, which every text is scored against: `n(sum_i softmax(a /
    temperature)_i v_i)`, where `a` are the cosines of its own text with its frames. The gate carries no gradient.

    Args:
        text_embeds (`torch.FloatTensor` of shape `(batch_size, dim)`): row `i` describes video `i`.
        gate_embeds (`torch.FloatTensor` of shape `(batch_size, num_moments, dim)`): what the gate reads.
        moment_embeds (`torch.FloatTensor` of shape `(batch_size, num_moments, dim)`): what it acts on.
        temperature (`float`): above 0.
        mask (`torch.BoolTensor` of shape `(batch_size, num_moments)`, *optional*): moments that count, at least one a
            video; all by default.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, dim)`, L2-normalised, float32.
    """
    with torch.no_grad():
        cosines = torch.einsum("bd,bnd->bn", text_embeds.float(), gate_embeds.float())
        hiding = 0.0 if mask is None else hidden(mask)
        gates = (cosines / temperature + hiding).softmax(dim=-1)
    return nn.functional.normalize(torch.einsum("bn,bnd->bd", gates, moment_embeds.float()), dim=-1)
