"""
Exact scores at a fraction of the cost: a gate is a scalar, so it commutes with every projection (TCD reading, ours).

After the encoders a gated frame is `w_i y_i`, and all that follows but the clue's softmax is linear in it. So whatever
needs whole vectors is done once per video (tables of dot products between its own vectors) or once per text (the text
seen through the clue's projections). A pair then costs dot products of the text with the video's vectors, which are
plain matrix products over all pairs, and sums over `num_frames` numbers.

The hybrid clue is written as a combination `sum_m g_m z_m` of vectors that do not depend on the query: projected
windows, projected frames, and constants of the module. Its cosine with the text is `g.(z t) / |g|_G`,
with `G` the table of `z.z`.
"""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput

from .distillation import ClueDistilling
from .gating import text_condition_weights, visible_windows

__all__ = ["TCDScoringTables", "factorized_scores", "scoring_tables"]


@dataclass
class TCDScoringTables(ModelOutput):
    """
    What exact scoring needs of a video beside its features; float32, free of any query. `H` heads, `N` frames, `M = 4 H
    N + 1` vectors that span the hybrid clue.

    Args:
        frame_gram (`torch.FloatTensor` of shape `(batch_size, N, N)`): dot products of the fused frames.
        window_gram (`torch.FloatTensor` of shape `(batch_size, N, N)`, *optional*): of the fused windows.
        clue_gram (`torch.FloatTensor` of shape `(batch_size, M, M)`, *optional*): of the vectors that span the clue.
        window_logits (`torch.FloatTensor` of shape `(batch_size, H, Q, N)`, *optional*): attention logits of each
            window per unit of gate; `Q` is 1 for a clue token and `N + 1` where frames ask, of which the last row is
            what does not depend on the asking frame's gate.
        frame_logits (`torch.FloatTensor` of shape `(batch_size, H, Q, N)`, *optional*): of each frame, likewise.
    """

    frame_gram: torch.FloatTensor | None = None
    window_gram: torch.FloatTensor | None = None
    clue_gram: torch.FloatTensor | None = None
    window_logits: torch.FloatTensor | None = None
    frame_logits: torch.FloatTensor | None = None


def factorized_scores(model, text_embeds: torch.Tensor, video_features) -> dict[str, torch.Tensor]:
    """
    The scores of [`reference_scores`], to rounding, without gated features of any pair.

    Args:
        model ([`TCDModel`]): with `text_condition="after"`.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
        video_features ([`TCDVideoFeatures`]): of `num_videos` videos; with their `scoring_tables`.

    Returns:
        `dict` of `similarity`, `text_video`, `text_ocr`, `text_hybrid`, `torch.FloatTensor` of shape `(num_texts,
        num_videos)` each; the last two only where the model reads OCR.
    """
    config, scale = model.config, model.logit_scale.exp()
    tables = video_features.scoring_tables
    text, temperature = text_embeds.float(), config.text_condition_temperature
    frames = video_features.fused_frame_embeds.float()
    frame_gates = text_condition_weights(text, video_features.frame_embeds, scale, temperature)
    text_video = gated_cosine(frame_gates, dots(text, frames), tables.frame_gram)
    if not config.use_ocr:
        return {"similarity": text_video, "text_video": text_video}

    windows = video_features.fused_ocr_embeds.float()
    mask = visible_windows(video_features.ocr_mask)
    window_gates = text_condition_weights(text, video_features.ocr_embeds, scale, temperature, mask)
    text_ocr = gated_cosine(window_gates, dots(text, windows), tables.window_gram)

    from_windows, from_frames = clue_answers(model)
    on_windows = from_windows.attend(window_gates, frame_gates, tables.window_logits, mask, None)
    on_frames = from_frames.attend(frame_gates, window_gates, tables.frame_logits, None, mask)
    coefficients = torch.cat(
        [
            (on_windows * window_gates[:, :, None]).flatten(2),
            (on_frames * frame_gates[:, :, None]).flatten(2),
            on_windows.flatten(2),
            on_frames.flatten(2),
            torch.ones_like(text_ocr)[..., None],
        ],
        dim=-1,
    )
    fixed = fixed_vectors(from_windows, from_frames)
    spans = torch.cat(
        [
            from_windows.dots(text, windows).flatten(2),
            from_frames.dots(text, frames).flatten(2),
            (text @ fixed.T)[:, None].expand(-1, len(frames), -1),
        ],
        dim=-1,
    )
    text_hybrid = gated_cosine(coefficients, spans, tables.clue_gram)
    similarity = (text_video + text_ocr + text_hybrid) / 3
    return {"similarity": similarity, "text_video": text_video, "text_ocr": text_ocr, "text_hybrid": text_hybrid}


def scoring_tables(model, video_features) -> TCDScoringTables:
    """The tables of `video_features`, computed once per video."""
    frames = video_features.fused_frame_embeds.float()
    tables = TCDScoringTables(frame_gram=frames @ frames.mT)
    if model.config.use_ocr:
        windows = video_features.fused_ocr_embeds.float()
        from_windows, from_frames = clue_answers(model)
        fixed = fixed_vectors(from_windows, from_frames).expand(len(frames), -1, -1)
        spanning = torch.cat([from_windows.values(windows), from_frames.values(frames), fixed], dim=1)
        tables.window_gram = windows @ windows.mT
        tables.clue_gram = spanning @ spanning.mT
        tables.window_logits = from_windows.logits(windows, frames)
        tables.frame_logits = from_frames.logits(frames, windows)
    return tables


def dots(text: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
    """Dot products of texts `(T, dim)` with every moment `(B, N, dim)`: one matrix product. Returns `(T, B, N)`."""
    return (text @ moments.flatten(0, 1).T).unflatten(1, moments.shape[:2])


def gated_cosine(coefficients: torch.Tensor, text_dots: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """Cosine of texts with `sum_m g_m z_m`, from `g` and `z t` `(T, B, M)` and `z z` `(B, M, M)`. Returns `(T, B)`."""
    through_gram = torch.bmm(coefficients.transpose(0, 1), gram).transpose(0, 1)
    squared_norm = (through_gram * coefficients).sum(dim=-1)
    return (coefficients * text_dots).sum(dim=-1) / squared_norm.clamp(min=1e-24).sqrt()


def fixed_vectors(from_windows: "Answers", from_frames: "Answers") -> torch.Tensor:
    """The vectors of the clue that are the same for every video `(2 H N + 1, dim)`."""
    constant = (from_windows.constant + from_frames.constant)[None]
    return torch.cat([from_windows.fixed.flatten(0, 1), from_frames.fixed.flatten(0, 1), constant])


def clue_answers(model) -> tuple["Answers", "Answers"]:
    """Both directions of the hybrid clue: windows answering the video's clue, frames answering the OCR clue."""
    clue, shape = model.distillation, (model.config.num_frames, model.config.projection_dim)
    if clue is None:
        return Answers(None, shape, device=model.device), Answers(None, shape, device=model.device)
    if not isinstance(clue, ClueDistilling):
        return Answers(clue.video_attention, shape), Answers(clue.ocr_attention, shape)
    video_query = clue.video_clue + clue.clue_type_embedding
    ocr_query = clue.ocr_clue + clue.clue_type_embedding
    return (
        Answers(clue.video_attention, shape, video_query, clue.ocr_type_embedding),
        Answers(clue.ocr_attention, shape, ocr_query, clue.video_type_embedding),
    )


class Answers:
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

    def __init__(self, attention, shape, query=None, type_embedding=None, device=None):
        self.attention, self.query = attention, query
        num_frames, dim = shape
        if attention is None:
            identity = torch.eye(dim, dtype=torch.float32, device=device)
            self.value_weight, self.output_weight = identity[None], identity[:, None]
            self.constant = identity.new_zeros(dim)
            self.offsets = identity.new_zeros(1, num_frames)
        else:
            heads = (attention.num_heads, attention.head_dim)
            self.value_weight = attention.v_proj.weight.float().unflatten(0, heads)  # (H, head_dim, dim)
            self.output_weight = attention.out_proj.weight.float().unflatten(1, heads)  # (dim, H, head_dim)
            constant = attention.out_proj.weight.float() @ attention.v_proj.bias.float()
            self.constant = constant + attention.out_proj.bias.float()
        types = self.constant.new_zeros(shape) if type_embedding is None else type_embedding.float()
        self.fixed = self.values(types[None]).unflatten(1, (-1, num_frames))[0]  # (H, N, dim)
        if query is not None:
            asked = attention.q_proj(query).float().view(heads) * attention.scaling
            self.key_weight = torch.einsum("hk,hkd->hd", asked, attention.k_proj.weight.float().unflatten(0, heads))
            keys = attention.k_proj(type_embedding).float().unflatten(1, heads)  # (N, H, head_dim)
            self.offsets = torch.einsum("hk,nhk->hn", asked, keys)

    def values(self, moments):
        """What each moment `(B, N, dim)` adds to the clue per unit of gate and attention: `(B, H N, dim)`."""
        projected = torch.einsum("bnd,hkd->bhnk", moments, self.value_weight)
        return torch.einsum("bhnk,dhk->bhnd", projected, self.output_weight).flatten(1, 2)

    def dots(self, text, moments):
        """Dot products of texts `(T, dim)` with the values of moments `(B, N, dim)`: `(T, B, H, N)`."""
        seen = torch.einsum("td,dhk->thk", text, self.output_weight)
        seen = torch.einsum("thk,hkd->thd", seen, self.value_weight)  # the text, seen through the projections
        return dots(seen.flatten(0, 1), moments).unflatten(0, seen.shape[:2]).movedim(1, 2)

    def logits(self, moments, askers):
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
        # The key bias adds the same to all logits of one asking moment: the softmax does not see it.
        return torch.cat([asked, bias], dim=2) @ keys.mT * self.attention.scaling

    def attend(self, gates, asking_gates, logits, mask, asking_mask):
        """Attention of each pair to each moment, averaged over who asks: `(T, B, H, N)`."""
        if logits.shape[2] == 1:
            gated = gates[:, :, None] * logits[:, :, 0] + self.offsets
            return softmax(gated, None if mask is None else mask[:, None])
        asked = asking_gates[:, :, None, :, None] * logits[:, :, :-1] + logits[:, :, -1:]
        weights = softmax(gates[:, :, None, None] * asked, None if mask is None else mask[:, None, None])
        if asking_mask is None:
            return weights.mean(dim=-2)
        shares = asking_mask / asking_mask.sum(dim=-1, keepdim=True)
        return (weights * shares[:, None, :, None]).sum(dim=-2)


def softmax(logits, mask):
    return (logits if mask is None else logits.masked_fill(~mask, -torch.inf)).softmax(dim=-1)
