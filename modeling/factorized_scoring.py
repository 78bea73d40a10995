"""
Exact scores at a fraction of the cost: a gate is a scalar, so it commutes with every projection (TCD reading, ours).

After the encoders a gated frame is `w_i y_i`, and all that follows but the clue's softmax is linear in it. So whatever
needs whole vectors is done once per video (tables of dot products between its own vectors) or once per text (the text
seen through the clue's projections). A pair then costs dot products of the text with the video's vectors, which are
plain matrix products over all pairs, and sums over `num_frames` numbers.

The hybrid clue is `sum_m g_m z_m + sum_m a_m f_m`: `z` are a video's projected windows and frames, `f` what the type
embeddings and biases add, the same for every video, `a` the clue's attention and `g` attention times gate. Its cosine
with the text is `(g.(z t) + a.(f t)) / |clue|`, and the norm is a quadratic form in `(g, a)`.

Texts are the last dimension of everything that pairs have, `(num_videos, num_frames, num_texts)`: sums and softmaxes
over the few frames then run along texts, where the processor computes many at once.
"""

from typing import Any

import torch

from .distillation import ClueDistilling
from .gating import visible_windows
from .outputs import TCDScoringTables, TCDVideoFeatures
from .pair_scorer import PairScorer

__all__ = ["ClueAttention", "FactorizedScorer", "clue_attention", "gated_cosine", "scoring_tables"]


class FactorizedScorer(PairScorer):
    """
    Gives the scores of [`ReferenceScorer`], to rounding, without gated features of any pair.

    Args:
        model ([`TCDModel`]): with `text_condition="after"`.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        clues (`tuple[ClueAttention, ClueAttention]`, *optional*): what [`clue_attention`] gives of the model, if it is
            there already.
    """

    block_elements = 2**19  # read again and again, a block should stay in a processor's own cache

    def __init__(self, model, text_embeds: torch.Tensor, clues: "tuple[ClueAttention, ClueAttention] | None" = None):
        super().__init__(model, text_embeds)
        # Times a frame's embedding, the logits of the gate.
        scale = model.logit_scale.detach().exp().float() / self.config.text_condition_temperature
        self.gate_query = self.text[None] * scale
        self.clues = clues or clue_attention(model)
        if self.clues is not None:
            from_windows, from_frames = self.clues
            fixed = torch.cat([from_windows.fixed, from_frames.fixed])  # (2 H N, dim)
            self.fixed_gram, self.fixed_dots = fixed @ fixed.T, fixed @ self.text.T
            self.seen_by_windows = torch.cat([self.text[None], from_windows.seen(self.text)])  # (1 + H, num_texts, dim)
            self.seen_by_frames = torch.cat([self.text[None], from_frames.seen(self.text)])

    def prepare(self, videos: TCDVideoFeatures) -> TCDVideoFeatures:
        """The videos in float32, with tables; those that they have, if they have any."""
        return with_tables(super().prepare(videos), self.clues)

    def pair_elements(self, videos: TCDVideoFeatures) -> int:
        """Elements of one pair's attention; with a clue token, gates and attention of both modalities."""
        num_frames = videos.frame_embeds.shape[1]
        moments_ask = self.config.use_cross_attention and not self.config.use_distillation
        return self.config.fusion_num_heads * num_frames * (num_frames if moments_ask else 4)

    def __call__(self, texts: slice, videos: TCDVideoFeatures) -> dict[str, torch.Tensor]:
        """See [`PairScorer`]; `text_ocr` and `text_hybrid` are there where the model reads OCR."""
        tables = tables_of(videos, self.clues)
        frame_mask = videos.visible_frames()[..., None]  # (num_videos, N, 1)
        frame_gates = dots(videos.frame_embeds, self.gate_query[:, texts])[:, 0] + hidden(frame_mask)
        frame_gates = frame_gates.softmax(dim=1) * frame_mask.sum(dim=1, keepdim=True)
        if self.clues is None:
            frame_dots = dots(videos.fused_frame_embeds, self.text[None, texts])[:, 0]
            text_video = gated_cosine(frame_gates, frame_dots, tables.frame_gram)
            return {"similarity": text_video, "text_video": text_video}

        ocr_embeds, fused_ocr_embeds, ocr_mask = videos.ocr_parts()
        window_gram, clue_gram, window_logits, frame_logits = tables.ocr_parts()
        mask = visible_windows(ocr_mask)[..., None]  # (num_videos, N, 1)
        window_gates = dots(ocr_embeds, self.gate_query[:, texts])[:, 0] + hidden(mask)
        window_gates = window_gates.softmax(dim=1) * mask.sum(dim=1, keepdim=True)
        frame_dots = dots(videos.fused_frame_embeds, self.seen_by_frames[:, texts])
        window_dots = dots(fused_ocr_embeds, self.seen_by_windows[:, texts])
        text_video = gated_cosine(frame_gates, frame_dots[:, 0], tables.frame_gram)
        text_ocr = gated_cosine(window_gates, window_dots[:, 0], window_gram)

        from_windows, from_frames = self.clues
        on_windows = from_windows.attend(window_gates, frame_gates, window_logits, mask, frame_mask)
        on_frames = from_frames.attend(frame_gates, window_gates, frame_logits, frame_mask, mask)
        gated_windows, gated_frames = on_windows * window_gates[:, None], on_frames * frame_gates[:, None]
        text_dots = inner(gated_windows, window_dots[:, 1:]).sum(1) + inner(gated_frames, frame_dots[:, 1:]).sum(1)
        gated, attention = (
            torch.cat([each.flatten(1, 2) for each in both], dim=1)  # (num_videos, 2 H N, num_texts)
            for both in ((gated_windows, gated_frames), (on_windows, on_frames))
        )
        text_dots = text_dots + inner(attention, self.fixed_dots[:, texts])
        squared_norm = inner(gated, clue_gram @ torch.cat([gated, attention], dim=1))
        squared_norm = squared_norm + inner(attention, self.fixed_gram @ attention)
        text_hybrid = cosine(text_dots, squared_norm)
        similarity = (text_video + text_ocr + text_hybrid) / 3
        return {"similarity": similarity, "text_video": text_video, "text_ocr": text_ocr, "text_hybrid": text_hybrid}


def scoring_tables(
    videos: TCDVideoFeatures, clues: "tuple[ClueAttention, ClueAttention] | None" = None
) -> TCDScoringTables:
    """
    What exact scoring needs of videos, computed once per video.

    Args:
        videos ([`TCDVideoFeatures`]): of `batch_size` videos. Tables that they have already are not looked at.
        clues (`tuple[ClueAttention, ClueAttention]`, *optional*): what [`clue_attention`] gives of the model; without
            it, the tables are those of the frames alone.

    Returns:
        [`TCDScoringTables`], float32.
    """
    frames = videos.fused_frame_embeds.float()
    if clues is None:
        return TCDScoringTables(frame_gram=frames @ frames.mT)
    windows, (from_windows, from_frames) = videos.ocr_parts()[1].float(), clues
    values = torch.cat([from_windows.values(windows), from_frames.values(frames)], dim=1)
    fixed = torch.cat([from_windows.fixed, from_frames.fixed])
    return TCDScoringTables(
        frame_gram=frames @ frames.mT,
        window_gram=windows @ windows.mT,
        clue_gram=torch.cat([values @ values.mT, 2 * values @ fixed.T], dim=-1),
        window_logits=from_windows.logits(windows, frames),
        frame_logits=from_frames.logits(frames, windows),
    )


def with_tables(
    videos: TCDVideoFeatures, clues: "tuple[ClueAttention, ClueAttention] | None" = None
) -> TCDVideoFeatures:
    """The videos with the tables of [`tables_of`]."""
    if videos.scoring_tables is not None:
        return videos
    return TCDVideoFeatures(**{**videos, "scoring_tables": tables_of(videos, clues)})


def tables_of(videos: TCDVideoFeatures, clues: "tuple[ClueAttention, ClueAttention] | None" = None) -> TCDScoringTables:
    """The tables that the videos have, or else those of [`scoring_tables`]."""
    return scoring_tables(videos, clues) if videos.scoring_tables is None else videos.scoring_tables


def dots(moments: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Dot products of every moment `(B, N, dim)` with queries `(H, T, dim)`: one matrix product, `(B, H, N, T)`."""
    products = moments.flatten(0, 1) @ queries.flatten(0, 1).T
    return products.view(*moments.shape[:2], *queries.shape[:2]).transpose(1, 2)


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Dot products over the dimension before the texts."""
    return (a * b).sum(dim=-2)


def gated_cosine(gates: torch.Tensor, text_dots: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """Cosine of texts with `sum_i w_i y_i`, from `w` and `y t` `(B, N, T)` and `y y` `(B, N, N)`. Returns `(T, B)`."""
    return cosine(inner(gates, text_dots), inner(gates, gram @ gates))


def cosine(text_dots: torch.Tensor, squared_norms: torch.Tensor) -> torch.Tensor:
    """Cosines `(T, B)` of unit texts with vectors of these dot products and squared norms `(B, T)`."""
    return (text_dots * squared_norms.clamp(min=1e-24).rsqrt()).T


def hidden(mask: torch.Tensor) -> torch.Tensor:
    """What is added to logits so that a softmax gives nothing to where `mask` is `False`."""
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf)


def clue_attention(model) -> "tuple[ClueAttention, ClueAttention] | None":
    """
    Both directions of a model's hybrid clue: windows answering the video's clue, frames answering the OCR clue. `None`
    for a model that reads no OCR.
    """
    if not model.config.reads_ocr:
        return None
    clue, shape = model.distillation, (model.config.num_frames, model.config.projection_dim)
    if clue is None:
        return ClueAttention(None, shape, device=model.device), ClueAttention(None, shape, device=model.device)
    if not isinstance(clue, ClueDistilling):
        return ClueAttention(clue.video_attention, shape), ClueAttention(clue.ocr_attention, shape)
    video_query = clue.video_clue + clue.clue_type_embedding
    ocr_query = clue.ocr_clue + clue.clue_type_embedding
    return (
        ClueAttention(clue.video_attention, shape, video_query, clue.ocr_type_embedding),
        ClueAttention(clue.ocr_attention, shape, ocr_query, clue.video_type_embedding),
    )


class ClueAttention:
    """
    One direction of the hybrid clue: the moments of one modality answer what the other asks, by [`CrossAttention`].

    Args:
        attention ([`CrossAttention`], *optional*): the module that is taken apart; without one, the answer is the mean.
        shape (`tuple[int, int]`): number of frames, width.
        query (`torch.FloatTensor` of shape `(1, dim)`, *optional*): the clue token that asks, with its type. Without
            one, every moment of the other modality asks, and the answers are averaged.
        type_embedding (`torch.FloatTensor` of shape `(num_frames, dim)`, *optional*): added to the moments that answer.
        device (`torch.device`, *optional*): of the mean; an attention brings its own.
    """

    def __init__(
        self,
        attention: Any,
        shape: tuple[int, int],
        query: torch.Tensor | None = None,
        type_embedding: torch.Tensor | None = None,
        device: torch.device | None = None,
    ):
        self.attention, self.query = attention, query
        num_frames, dim = shape
        if attention is None:
            identity = torch.eye(dim, dtype=torch.float32, device=device)
            self.value_weight, self.output_weight = identity[None], identity[:, None]
            self.fixed = identity.new_zeros(num_frames, dim)
            self.offsets = identity.new_zeros(1, num_frames)
            return
        heads = (attention.num_heads, attention.head_dim)
        output_weight, output_bias = attention.out_proj.weight.float(), attention.out_proj.bias.float()
        self.value_weight = attention.v_proj.weight.float().unflatten(0, heads)  # (H, head_dim, dim)
        self.output_weight = output_weight.unflatten(1, heads)  # (dim, H, head_dim)
        constant = output_weight @ attention.v_proj.bias.float() + output_bias
        # Every head's attention sums to one, so each moment may carry the head's share of what is always added.
        self.fixed = (constant / attention.num_heads).expand(attention.num_heads * num_frames, -1)  # (H N, dim)
        if type_embedding is not None:
            self.fixed = self.fixed + self.values(type_embedding.float()[None])[0]
        if query is not None and type_embedding is not None:
            asked = attention.q_proj(query).float().view(heads)[:, None] * attention.scaling
            self.key_weight = (asked @ attention.k_proj.weight.float().unflatten(0, heads))[:, 0]  # (H, dim)
            # The softmax does not see what the key bias adds to the logits of all moments alike: it is here so that
            # no weight is without a gradient.
            bias = (asked[:, 0] * attention.k_proj.bias.float().view(heads)).sum(dim=-1, keepdim=True)
            self.offsets = self.key_weight @ type_embedding.float().T + bias  # (H, N)

    def values(self, moments: torch.Tensor) -> torch.Tensor:
        """What each moment `(B, N, dim)` adds to the clue per unit of gate and attention: `(B, H N, dim)`."""
        projected = torch.einsum("bnd,hkd->bhnk", moments, self.value_weight)
        return torch.einsum("bhnk,dhk->bhnd", projected, self.output_weight).flatten(1, 2)

    def seen(self, text: torch.Tensor) -> torch.Tensor:
        """Texts `(T, dim)` whose dot products with moments are those of the texts with `values`: `(H, T, dim)`."""
        return torch.einsum("td,dhk->htk", text, self.output_weight) @ self.value_weight

    def logits(self, moments: torch.Tensor, askers: torch.Tensor) -> torch.Tensor:
        """Attention logits per unit of gate: `(B, H, 1, N)` for a clue token, `(B, H, N + 1, N)` where moments ask."""
        if self.attention is None:
            return moments.new_zeros(len(moments), 1, 1, moments.shape[1])
        if self.query is not None:
            return torch.einsum("hd,bnd->bhn", self.key_weight, moments)[:, :, None]
        heads = (self.attention.num_heads, self.attention.head_dim)
        weights = (self.attention.q_proj.weight.float(), self.attention.k_proj.weight.float())
        asked = (askers @ weights[0].T).unflatten(-1, heads).transpose(1, 2)  # (B, H, N, head_dim)
        bias = self.attention.q_proj.bias.float().view(heads)[:, None].expand(len(askers), -1, -1, -1)
        keys = (moments @ weights[1].T).unflatten(-1, heads).transpose(1, 2)
        return torch.cat([asked, bias], dim=2) @ keys.mT * self.attention.scaling

    def attend(self, gates, asking_gates, logits, mask, asking_mask):
        """
        Attention of each pair to each moment, averaged over who asks, `(B, H, N, T)`; from gates `(B, N, T)`, `logits`
        as above, and masks `(B, N, 1)` of moments and askers that count.
        """
        unseen = hidden(mask)[:, None]  # (B, 1, N, 1)
        if logits.shape[2] == 1:
            return torch.addcmul(self.offsets[..., None] + unseen, gates[:, None], logits.mT).softmax(dim=-2)
        logits = logits[..., None]  # (B, H, N + 1, N, 1)
        asked = torch.addcmul(logits[:, :, -1:], asking_gates[:, None, :, None], logits[:, :, :-1])
        weights = torch.addcmul(unseen[:, :, None], asked, gates[:, None, None]).softmax(dim=-2)  # (B, H, N, N, T)
        shares = asking_mask / asking_mask.sum(dim=1, keepdim=True)
        return (weights * shares[:, None, :, None]).sum(dim=2)
