"""What TCD models return: features and tables of videos, scores of pairs, and the output of `forward`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import ModelOutput

__all__ = ["TCDOutput", "TCDScores", "TCDScoringTables", "TCDTextFeatures", "TCDVideoFeatures"]

# A `ModelOutput` wants the default `None` of all fields but the first, also of those that are always given.
ALWAYS_GIVEN = cast(Any, None)


@dataclass
class TCDTextFeatures(BaseModelOutputWithPooling):
    """
    The text tower's output, of which `pooler_output` is what texts are scored by.

    Args:
        pooler_output (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised text embeddings.
        last_hidden_state, hidden_states, attentions: those of the tower.
    """

    pooler_output: torch.Tensor = ALWAYS_GIVEN


@dataclass
class TCDScoringTables(ModelOutput):
    """
    What exact scoring needs of a video beside its features; float32, free of any query. `H` heads, `N` frames. With one
    head and 12 frames, 1,464 numbers a video: 5.7 KiB, or 2.9 KiB kept as float16.

    Args:
        frame_gram (`torch.FloatTensor` of shape `(batch_size, N, N)`): dot products of the fused frames.
        window_gram (`torch.FloatTensor` of shape `(batch_size, N, N)`, *optional*): of the fused windows.
        clue_gram (`torch.FloatTensor` of shape `(batch_size, 2 H N, 4 H N)`, *optional*): of the vectors that the video
            adds to the clue (windows, then frames, seen by each head), with each other and then, doubled, with those
            that are the same for every video.
        window_logits (`torch.FloatTensor` of shape `(batch_size, H, Q, N)`, *optional*): attention logits of each
            window per unit of gate; `Q` is 1 for a clue token and `N + 1` where frames ask, of which the last row is
            what does not depend on the asking frame's gate.
        frame_logits (`torch.FloatTensor` of shape `(batch_size, H, Q, N)`, *optional*): of each frame, likewise.
    """

    frame_gram: torch.Tensor = ALWAYS_GIVEN
    window_gram: torch.Tensor | None = None
    clue_gram: torch.Tensor | None = None
    window_logits: torch.Tensor | None = None
    frame_logits: torch.Tensor | None = None

    def ocr_parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The parts that only a model that reads OCR makes.

        Returns:
            `window_gram`, `clue_gram`, `window_logits` and `frame_logits`.

        Raises:
            ValueError: there are none.
        """
        window_gram, clue_gram = self.window_gram, self.clue_gram
        window_logits, frame_logits = self.window_logits, self.frame_logits
        if window_gram is None or clue_gram is None or window_logits is None or frame_logits is None:
            raise ValueError("The scoring tables are those of frames alone: a model that reads no OCR made them.")
        return window_gram, clue_gram, window_logits, frame_logits


@dataclass
class TCDVideoFeatures(ModelOutput):
    """
    Everything a video is scored by, free of any query: what an index stores, but for the norms.

    Args:
        frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`):
            L2-normalised frame embeddings of the backbone (`v`; `f` in EERCF); the gate reads them.
        frame_norms (`torch.FloatTensor` of shape `(batch_size, num_frames)`, *optional*):
            What they were divided by: `frame_embeds * frame_norms[..., None]` are the raw ones (`r` in EERCF). Only the
            temporal encoder reads them, no score does; `None` where they were not given.
        ocr_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`, *optional*):
            L2-normalised embeddings of the windows' captions (`o`). `None` where the model does not read OCR.
        fused_frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`):
            What the gate acts on. Frames after the co-attention (`y`), not normalised; the frames themselves without
            co-attention, and with `text_condition="before"`, where it runs for every pair. With `interaction="tib"`,
            frames after the temporal encoder, L2-normalised.
        fused_ocr_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`, *optional*):
            Windows after the co-attention (`x`), not normalised.
        ocr_mask (`torch.LongTensor` of shape `(batch_size, num_frames)`, *optional*):
            1 for windows with text, else 0, as masks of transformers are. A row without any is scored over all its
            windows.
        coarse_embeds (`torch.FloatTensor` of shape `(batch_size, dim)`):
            One L2-normalised vector per video, for recall, see [`~TCDModel.get_coarse_queries`]: `n(n(mean v) + n(mean
            o))`, `v` after the temporal encoder, the second term only where the video has text (ours); `n(mean v)`
            where the model does not read OCR.
        patch_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, num_patches, dim)`, *optional*):
            L2-normalised patch embeddings in the joint space, with `use_patch_features=True`.
        vision_model_output (`BaseModelOutputWithPooling`, *optional*):
            The image tower's output over all frames, `batch_size * num_frames` rows.
        ocr_model_output (`BaseModelOutputWithPooling`, *optional*):
            The text tower's output over the captions of all windows, `batch_size * num_frames` rows. Each different
            caption of the batch is encoded once.
        co_attentions (`tuple(torch.FloatTensor)`, *optional*):
            Attention weights `(batch_size, num_heads, num_frames, num_frames)` of video reading OCR and of OCR reading
            video, when `output_attentions=True` and the attention implementation gives them (`"eager"`).
        scoring_tables ([`TCDScoringTables`], *optional*):
            What [`~TCDModel.precompute`] adds, so that scoring need not compute it for every call.
        frame_mask (`torch.LongTensor` of shape `(batch_size, num_frames)`, *optional*):
            1 for frames that count: not those that repeat the one before, as a clip with fewer frames than windows has
            them. No gate, attention, mean or loss sees the others. `None`: all count.
    """

    frame_embeds: torch.Tensor = ALWAYS_GIVEN
    frame_norms: torch.Tensor | None = None
    ocr_embeds: torch.Tensor | None = None
    fused_frame_embeds: torch.Tensor = ALWAYS_GIVEN
    fused_ocr_embeds: torch.Tensor | None = None
    ocr_mask: torch.Tensor | None = None
    coarse_embeds: torch.Tensor = ALWAYS_GIVEN
    patch_embeds: torch.Tensor | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None
    ocr_model_output: BaseModelOutputWithPooling | None = None
    co_attentions: tuple[torch.Tensor, ...] | None = None
    scoring_tables: TCDScoringTables | None = None
    frame_mask: torch.Tensor | None = None

    def map_videos(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "TCDVideoFeatures":
        """The same features with `function` applied to every tensor whose rows are videos."""
        tensors: dict[str, Any] = {name: function(value) for name, value in self.items() if torch.is_tensor(value)}
        tables = self.scoring_tables
        if tables is not None:
            tables = TCDScoringTables(**{name: function(value) for name, value in tables.items()})
        return TCDVideoFeatures(**tensors, scoring_tables=tables)

    def ocr_parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The parts that only a model that reads OCR makes.

        Returns:
            `ocr_embeds`, `fused_ocr_embeds` and `ocr_mask`, the mask as `torch.BoolTensor`.

        Raises:
            ValueError: there are none.
        """
        if self.ocr_embeds is None or self.fused_ocr_embeds is None or self.ocr_mask is None:
            raise ValueError(
                "The video features hold no OCR captions: they were made by a model that does not read them "
                '(`use_ocr=False`, or `interaction="tib"`).'
            )
        return self.ocr_embeds, self.fused_ocr_embeds, self.ocr_mask.bool()

    def visible_frames(self) -> torch.Tensor:
        """Frames that count, `torch.BoolTensor` of shape `(batch_size, num_frames)`: all where no mask says other."""
        if self.frame_mask is None:
            return torch.ones(self.frame_embeds.shape[:2], dtype=torch.bool, device=self.frame_embeds.device)
        return self.frame_mask.bool()

    def patches(self) -> torch.Tensor:
        """The patches of all frames of a video, one after the other.

        Returns:
            `patch_embeds` of shape `(batch_size, num_frames * num_patches, dim)`.

        Raises:
            ValueError: there are none.
        """
        if self.patch_embeds is None:
            raise ValueError(
                "The video features hold no patches: they were made by a model without patch features "
                "(`use_patch_features=False`)."
            )
        return self.patch_embeds.flatten(1, 2)

    def visible_patches(self) -> torch.Tensor:
        """Patches of frames that count, `torch.BoolTensor` of shape `(batch_size, num_frames * num_patches)`."""
        return self.visible_frames().repeat_interleave(self.patches().shape[1] // self.frame_embeds.shape[1], dim=1)

    def split(self, size: int) -> list["TCDVideoFeatures"]:
        """Pieces of at most `size` videos, in order."""
        return [
            self.map_videos(lambda rows, start=start: rows[start : start + size])
            for start in range(0, len(self.frame_embeds), size)
        ]


@dataclass
class TCDScores(ModelOutput):
    """
    Scores of every pair, float32: cosines in [-1, 1]; with `interaction="tib"`, a weighted mean of scores of different
    grain.

    Args:
        similarity (`torch.FloatTensor` of shape `(num_texts, num_videos)`):
            Mean of the three parts; the text-video part alone where the model does not read OCR.
        text_video (`torch.FloatTensor` of shape `(num_texts, num_videos)`):
            Text against the gated frames; with `interaction="tib"`, the whole mix that ranks, see [`TCDModel`].
        text_ocr (`torch.FloatTensor` of shape `(num_texts, num_videos)`, *optional*): text against the gated windows.
        text_hybrid (`torch.FloatTensor` of shape `(num_texts, num_videos)`, *optional*): text against the hybrid clue.
    """

    similarity: torch.Tensor = ALWAYS_GIVEN
    text_video: torch.Tensor = ALWAYS_GIVEN
    text_ocr: torch.Tensor | None = None
    text_hybrid: torch.Tensor | None = None


@dataclass
class TCDOutput(ModelOutput):
    """
    What [`TCDModel`] returns. `T` texts, `B` videos; a field is `None` where its inputs were not given.

    Args:
        loss (`torch.FloatTensor`, scalar): with `return_loss=True`, `contrastive_loss + calibration_weight *
            calibration_loss + coarse_loss_weight * coarse_loss + pearson_weight * pearson_loss`; with
            `interaction="tib"`, `tib_loss_weight * contrastive_loss` in the place of the first two.
        contrastive_loss (`torch.FloatTensor`, scalar): symmetric InfoNCE over the pairs of all processes, of the
            similarity; with `interaction="tib"`, of the text with the frames that its pair's text gated.
        calibration_loss (`torch.FloatTensor`, scalar): HSC, in squared frames, with `use_calibration`.
        coarse_loss (`torch.FloatTensor`, scalar): symmetric InfoNCE of the coarse vectors; with `interaction="tib"`,
            of the mix of video, weak frame and weak patch scores.
        pearson_loss (`torch.FloatTensor`, scalar): the Pearson constraint of texts and coarse vectors; with
            `interaction="tib"`, weighted and summed with that of texts and gated features.
        logits_per_text (`torch.FloatTensor` of shape `(T, B)`): the similarity times the scale of the logits,
            `exp(logit_scale)`, 100 at most with `interaction="tib"`. There, beside losses, it carries no gradient.
        logits_per_video (`torch.FloatTensor` of shape `(B, T)`): its transpose.
        text_video_similarity, text_ocr_similarity, text_hybrid_similarity (`torch.FloatTensor` of shape `(T, B)`):
            The parts of the similarity: why a video matched.
        text_embeds (`torch.FloatTensor` of shape `(T, dim)`): L2-normalised.
        video_features ([`TCDVideoFeatures`]): of the `B` videos, the towers' outputs with them.
        text_model_output ([`TCDTextFeatures`]): the text tower's output for the texts.
    """

    loss: torch.Tensor | None = None
    contrastive_loss: torch.Tensor | None = None
    calibration_loss: torch.Tensor | None = None
    coarse_loss: torch.Tensor | None = None
    pearson_loss: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    logits_per_video: torch.Tensor | None = None
    text_video_similarity: torch.Tensor | None = None
    text_ocr_similarity: torch.Tensor | None = None
    text_hybrid_similarity: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    video_features: TCDVideoFeatures | None = None
    text_model_output: TCDTextFeatures | None = None

    def to_tuple(self) -> tuple:
        return tuple(v.to_tuple() if isinstance(v, ModelOutput) else v for v in self.values())
