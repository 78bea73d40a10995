"""
Coarse-to-fine representation (EERCF, AAAI 2024): one coarse vector per video for recall, then scores of finer grain.

The text-gated interaction block (TIB) lets a text weigh the frames of a video by its cosines with them. The score of a
text and its gated frames needs no gated frame of any pair: with gates `g`, dot products `d_i = s v_i` and the table of
dot products `G` between a video's own frames it is `g.d / |g|_G` (ours; the published evaluation builds them all).

Texts are the last dimension of everything that pairs have, `(num_videos, num_frames, num_texts)`.
"""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .co_attention import CrossAttention

__all__ = [
    "PearsonConstraint",
    "TemporalEncoder",
    "mixed_scores",
    "paired_gated_embeds",
    "rerank_weights",
    "training_weights",
    "weak_scores",
]

HEAD_DIM = 64  # of the temporal encoder, as in CLIP's towers
SMALLEST_STD = 1e-6  # what varies less is constant but for rounding: embeddings have unit length
BLOCK_ELEMENTS = 2**22  # of the largest tensor that scoring makes at a time


class TemporalEncoder(nn.Module):
    """
    `v_i = n(TemporalEncoder(f + position)_i + f_i)`: frames that know what comes before and after them. The positions,
    and the projections that end each residual branch, start at zero, so that an untrained encoder gives the frames back
    (ours).
    """

    gradient_checkpointing = False  # `gradient_checkpointing_enable` of the model sets it, and the function below

    def __init__(self, config):
        super().__init__()
        self.position_embedding = nn.Parameter(torch.empty(config.num_frames, config.projection_dim))
        self.layers = nn.ModuleList(TemporalEncoderLayer(config) for _ in range(config.temporal_num_layers))

    def forward(self, frame_embeds: torch.Tensor) -> torch.Tensor:
        """
        Args:
            frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`): L2-normalised.

        Returns:
            Temporal frames, `torch.FloatTensor` of shape `(batch_size, num_frames, dim)`, L2-normalised.
        """
        states = frame_embeds + self.position_embedding
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                states = self._gradient_checkpointing_func(layer.__call__, states)
            else:
                states = layer(states)
        return nn.functional.normalize(states + frame_embeds, dim=-1)


class TemporalEncoderLayer(nn.Module):
    """A transformer layer of the kind CLIP is made of: norms first, heads of 64 channels, four times wider inside."""

    def __init__(self, config):
        super().__init__()
        dim = config.projection_dim
        num_heads = max(heads for heads in range(1, max(1, dim // HEAD_DIM) + 1) if dim % heads == 0)
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = CrossAttention(config, neutral={"out_proj": "zeros"}, num_heads=num_heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, 4 * dim)
        self.mlp_out = nn.Linear(4 * dim, dim)
        self.mlp_out.neutral_start = "zeros"

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        normed = self.attention_norm(states)
        states = states + self.attention(normed, normed, normed)[0]
        return states + self.mlp_out(nn.functional.gelu(self.mlp_in(self.mlp_norm(states))))


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
    """Weights of the scores that rank, by the names of [`mixed_scores`], with sum 1; those of weight 0 left out."""
    names = ["video", "frame", "tib_frame"] + ["patch", "tib_patch"] * config.use_patch_features
    weights = {name: getattr(config, f"rerank_{name}_weight") for name in names}
    return {name: weight / sum(weights.values()) for name, weight in weights.items() if weight}


def training_weights(config) -> dict[str, float]:
    """Weights of the scores that the coarse loss trains, by the names of [`mixed_scores`]."""
    names = ["video", "frame"] + ["patch"] * config.use_patch_features
    return {name: getattr(config, f"training_{name}_weight") for name in names}


def mixed_scores(
    model, text_embeds: torch.Tensor, video_features, weights: dict[str, float], method: str = "factorized"
) -> torch.Tensor:
    """
    Weighted sum of scores of different grain, every text against every video, in blocks that bound memory.

    Args:
        model ([`TCDModel`]): with `interaction="tib"`.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        video_features ([`TCDVideoFeatures`]): of `num_videos` videos.
        weights (`dict[str, float]`): of `"video"` (coarse vectors), `"frame"` and `"patch"` (weak scores),
            `"tib_frame"` and `"tib_patch"` (text-gated features); what is not named is not computed.
        method (`str`, *optional*, defaults to `"factorized"`): `"reference"` makes the gated frames of each pair.

    Returns:
        `torch.FloatTensor` of shape `(num_texts, num_videos)`, float32.
    """
    num_moments, dim = video_features.frame_embeds.shape[1:]
    if {"patch", "tib_patch"} & set(weights):
        num_moments *= video_features.patch_embeds.shape[2]
    pair_elements = num_moments * dim if method == "reference" else max(num_moments, dim * ("tib_patch" in weights))
    texts_per_block = max(1, min(len(text_embeds), int((BLOCK_ELEMENTS / pair_elements) ** 0.5)))
    videos_per_block = max(1, BLOCK_ELEMENTS // max(texts_per_block * pair_elements, num_moments * dim))

    score_block = partial(block_scores, model, weights=weights, method=method)
    num_pairs = len(text_embeds) * len(video_features.frame_embeds)
    if torch.is_grad_enabled() and texts_per_block * videos_per_block < num_pairs:
        # Autograd would hold every block's tensors until the backward pass; computed again there, it holds one's.
        score_block = partial(checkpoint, score_block, use_reentrant=False)
    columns = [
        torch.cat([score_block(texts, videos) for texts in text_embeds.split(texts_per_block)])
        for videos in video_features.split(videos_per_block)
    ]
    return torch.cat(columns, dim=1)


def block_scores(model, text_embeds: torch.Tensor, videos, weights: dict[str, float], method: str) -> torch.Tensor:
    """[`mixed_scores`] of one block."""
    config, text = model.config, text_embeds.float()
    gated_scores = built_gated_scores if method == "reference" else factorized_gated_scores
    scores = {}
    if "video" in weights:
        scores["video"] = videos.coarse_embeds.float() @ model.get_coarse_queries(text).T
    if {"frame", "tib_frame"} & set(weights):
        cosines = videos.frame_embeds.float() @ text.T  # (num_videos, num_frames, num_texts)
    if "frame" in weights:
        scores["frame"] = weak_scores(cosines, config.weak_temperature, model.frame_projection)
    if "tib_frame" in weights:
        gates = (cosines / config.tib_frame_temperature).softmax(dim=1)
        gram = None if videos.scoring_tables is None else videos.scoring_tables.frame_gram
        scores["tib_frame"] = gated_scores(gates, text, videos.fused_frame_embeds.float(), gram)
    if {"patch", "tib_patch"} & set(weights):
        patches = videos.patch_embeds.float().flatten(1, 2)  # (num_videos, num_frames * num_patches, dim)
        cosines = patches @ text.T
    if "patch" in weights:
        scores["patch"] = weak_scores(cosines, config.weak_temperature)
    if "tib_patch" in weights:
        gates = (cosines / config.tib_patch_temperature).softmax(dim=1)
        # A table of dot products between all patches of a video would be larger than their gated sums.
        gated_scores = built_gated_scores if method == "reference" else summed_gated_scores
        scores["tib_patch"] = gated_scores(gates, text, patches)
    return sum(weight * scores[name] for name, weight in weights.items()).T


def weak_scores(cosines: torch.Tensor, temperature: float, projection: nn.Linear | None = None) -> torch.Tensor:
    """
    `sum_i a_i (softmax(a / temperature) W_f)_i`: cosines weighed by themselves, near their maximum.

    Args:
        cosines (`torch.FloatTensor` of shape `(num_videos, num_moments, num_texts)`): of frames or patches with texts.
        temperature (`float`): above 0.
        projection (`nn.Linear`, *optional*): `W_f`, for videos of as many moments as it has inputs; the identity for
            others (ours).

    Returns:
        `torch.FloatTensor` of shape `(num_videos, num_texts)`.
    """
    shares = (cosines / temperature).softmax(dim=1)
    if projection is not None and projection.in_features == cosines.shape[1]:
        shares = projection.weight.float() @ shares
    return (cosines * shares).sum(dim=1)


def factorized_gated_scores(gates, text, moments, gram=None):
    """Cosine of moments `(B, N, dim)`, gated by `(B, N, T)`, with texts `(T, dim)`, by their dot products: `(B, T)`."""
    gram = moments @ moments.mT if gram is None else gram.float()
    squared_norm = (gates * (gram @ gates)).sum(dim=1)
    return (gates * (moments @ text.T)).sum(dim=1) / squared_norm.clamp(min=1e-24).sqrt()


def summed_gated_scores(gates, text, moments):
    """The same by the gated sum of each pair, `(B, T, dim)`."""
    return torch.einsum("btd,td->bt", nn.functional.normalize(gates.mT @ moments, dim=-1), text)


def built_gated_scores(gates, text, moments, gram=None):
    """The same as it is written: every gated moment of each pair, `(B, N, T, dim)`. Slow."""
    gated = (gates[..., None] * moments[:, :, None]).sum(dim=1)
    return torch.einsum("btd,td->bt", nn.functional.normalize(gated, dim=-1), text)


def paired_gated_embeds(
    text_embeds: torch.Tensor, gate_embeds: torch.Tensor, moment_embeds: torch.Tensor, temperature: float
) -> torch.Tensor:
    """
    In training, each video has one gated vector, which every text is scored against: `n(sum_i softmax(a /
    temperature)_i v_i)`, where `a` are the cosines of its own text with its frames. The gate carries no gradient.

    Args:
        text_embeds (`torch.FloatTensor` of shape `(batch_size, dim)`): row `i` describes video `i`.
        gate_embeds (`torch.FloatTensor` of shape `(batch_size, num_moments, dim)`): what the gate reads.
        moment_embeds (`torch.FloatTensor` of shape `(batch_size, num_moments, dim)`): what it acts on.
        temperature (`float`): above 0.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, dim)`, L2-normalised, float32.
    """
    with torch.no_grad():
        cosines = torch.einsum("bd,bnd->bn", text_embeds.float(), gate_embeds.float())
        gates = (cosines / temperature).softmax(dim=-1)
    return nn.functional.normalize(torch.einsum("bn,bnd->bd", gates, moment_embeds.float()), dim=-1)
