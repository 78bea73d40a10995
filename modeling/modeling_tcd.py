"""TCD model: text-video retrieval that reads the text in the video."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.generic import can_return_tuple

from .backbones import PATCH_BACKBONES, encode_captions, encode_frames, encode_text, make_backbone, text_tower
from .calibration import CalibrationLoss
from .checks import check_features, check_inputs
from .co_attention import VideoOCRCoAttention
from .coarse_to_fine import PearsonConstraint, identity_projection
from .configuration_tcd import TCDConfig
from .contrastive import ContrastiveLoss
from .distillation import ClueDistilling, CrossAttentionClue, masked_mean
from .factorized_scoring import clue_attention, scoring_tables
from .gating import visible_windows
from .losses import losses_over_processes, tcd_losses, tib_losses
from .outputs import TCDOutput, TCDScores, TCDTextFeatures, TCDVideoFeatures
from .pretrained import LOGIT_SCALE_INIT, TCDPreTrainedModel
from .scoring import candidate_scores, full_precision, make_scorer, pair_scores
from .temporal_encoder import TemporalEncoder

__all__ = ["TCDModel", "TCDOutput", "TCDPreTrainedModel", "TCDVideoFeatures"]

MAX_LOGIT_SCALE = 100.0  # of EERCF's logits


class TCDModel(TCDPreTrainedModel):
    """
    Scene-text aware text-video retrieval: *Temporal Calibrating and Distilling* (TCD, AAAI 2026) on any dual encoder.

    A frame and a window-OCR caption per window are embedded by the backbone; a co-attention lets the two sequences read
    each other, once per video; a query then gates both, and is matched against the frames, the windows, and a hybrid
    clue distilled from both. The similarity is the mean of the three cosines.

    With `interaction="tib"` it is EERCF (*Coarse-to-Fine Visual Representation Learning*, AAAI 2024) instead, which
    reads no captions: a temporal encoder over the frames, and a mix of scores of different grain, from one coarse
    vector per video to frames that the text gates, and patches.

    Either way a video has one coarse vector, by which a large collection can be searched first.

    All weights receive a gradient but the SigLIP family's `logit_bias`, which the InfoNCE loss does not see, and, with
    `use_distillation=False` and no dropout, two key biases, which no softmax sees.

    Args:
        config ([`TCDConfig`]): the model's configuration. Building from it gives random weights.

    Raises:
        ValueError: a backbone that is no dual encoder, or whose patches cannot be embedded where they should be.

    Example:

    ```python
    >>> from tcd_hf import load_mini

    >>> model, processor = load_mini()
    >>> inputs = processor(text=["the store TESCO express"], videos=["clip.mp4"], return_tensors="pt")
    >>> model(**inputs).logits_per_text
    ```"""

    _auto_class = "AutoModel"  # saving copies this file and its siblings beside the weights

    def __init__(self, config: TCDConfig):
        super().__init__(config)
        reads_ocr = config.reads_ocr
        self.backbone: Any = make_backbone(config.backbone_config)
        if not hasattr(self.backbone, "get_text_features") or not hasattr(self.backbone, "get_image_features"):
            raise ValueError(
                f"The backbone {type(self.backbone).__name__} is no dual encoder: it must have `get_text_features` and "
                "`get_image_features`, as CLIP, SigLIP and SigLIP 2 do."
            )
        if config.use_patch_features and config.backbone_config.model_type not in PATCH_BACKBONES:
            raise ValueError(
                f"`use_patch_features=True` needs a backbone whose patches can be projected one by one; known are "
                f"{list(PATCH_BACKBONES)}, got {config.backbone_config.model_type!r}. Use `use_patch_features=False`."
            )
        if reads_ocr and not config.share_ocr_encoder:
            self.ocr_backbone = text_tower(make_backbone(config.backbone_config))
        self.co_attention = VideoOCRCoAttention(config) if reads_ocr and config.use_co_attention else None
        self.distillation = None
        if reads_ocr and config.use_distillation:
            self.distillation = ClueDistilling(config)
        elif reads_ocr and config.use_cross_attention:
            self.distillation = CrossAttentionClue(config)
        self.temporal_encoder = TemporalEncoder(config) if config.temporal_num_layers else None
        self.coarse_projection = identity_projection(config.projection_dim)
        self.frame_projection = identity_projection(config.num_frames) if config.interaction == "tib" else None
        self.contrastive = ContrastiveLoss()
        self.calibration = CalibrationLoss()
        self.pearson = PearsonConstraint(config.pearson_diagonal_weight, config.pearson_off_diagonal_weight)
        has_scale = hasattr(self.backbone, "logit_scale")
        self.own_logit_scale = None if has_scale else nn.Parameter(torch.tensor(LOGIT_SCALE_INIT))
        self.post_init()

    @property
    def ocr_encoder(self) -> PreTrainedModel:
        """The encoder of OCR captions: the backbone itself, unless `share_ocr_encoder=False`."""
        return getattr(self, "ocr_backbone", self.backbone)

    @property
    def logit_scale(self) -> nn.Parameter:
        """Learned log scale of the logits, and of the gate: the backbone's, or the model's own where that has none."""
        return self.backbone.logit_scale if self.own_logit_scale is None else self.own_logit_scale

    @property
    def calibration_temperature(self) -> torch.Tensor:
        """Temperature of the calibrating loss, a float32 scalar without gradient: the configuration's, or where it has
        none that of the logits, `1 / exp(logit_scale)`."""
        given = self.config.calibration_temperature
        scale = self.logit_scale.detach().float()
        return (-scale).exp() if given is None else torch.full_like(scale, given)

    def get_input_embeddings(self) -> nn.Module:
        return self._embeddings_holder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self._embeddings_holder.set_input_embeddings(value)

    @property
    def _embeddings_holder(self) -> PreTrainedModel:
        # CLIPModel does not tell where its token embeddings are; its text tower does.
        return getattr(self.backbone, "text_model", self.backbone)

    @can_return_tuple
    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> TCDTextFeatures:
        """Embeds texts.

        Args:
            input_ids (`torch.LongTensor` of shape `(num_texts, sequence_length)`)
            attention_mask (`torch.LongTensor` of shape `(num_texts, sequence_length)`, *optional*)

        Returns:
            [`TCDTextFeatures`]; `pooler_output` `(num_texts, dim)` is the L2-normalised embedding. A tuple of its
            fields with `return_dict=False`.
        """
        return encode_text(self.backbone, input_ids, attention_mask, **kwargs)

    @can_return_tuple
    def get_video_features(
        self,
        pixel_values_videos: torch.Tensor,
        ocr_input_ids: torch.Tensor | None = None,
        ocr_attention_mask: torch.Tensor | None = None,
        ocr_mask: torch.Tensor | None = None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        frame_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> TCDVideoFeatures:
        """Embeds videos, and lets their frames and captions explain each other.

        Args:
            pixel_values_videos (`torch.FloatTensor` of shape `(batch_size, num_frames, num_channels, height, width)`):
                Frame `i` is the one at the centre of window `i`. For SigLIP 2, patches of shape `(batch_size,
                num_frames, num_patches, patch_dim)`.
            ocr_input_ids (`torch.LongTensor` of shape `(batch_size, num_frames, sequence_length)`):
                Caption of each window; the empty caption where there is no text. Not needed, and ignored, with
                `use_ocr=False` or `interaction="tib"`.
            ocr_attention_mask (`torch.LongTensor` of the same shape, *optional*)
            ocr_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*):
                Windows with text; all of them by default.
            pixel_attention_mask (`torch.LongTensor` of shape `(batch_size, num_frames, num_patches)`, *optional*),
            spatial_shapes (`torch.LongTensor` of shape `(batch_size, num_frames, 2)`, *optional*): for SigLIP 2.
            frame_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*):
                Frames that count, not those that only fill up a clip with fewer frames than windows; all by default.

        Returns:
            [`TCDVideoFeatures`], or a tuple of its fields with `return_dict=False`.

        Raises:
            ValueError: another number of frames or windows than the configuration's, or no OCR captions where the
                model reads them.
        """
        features = self.encode_videos(
            pixel_values_videos, ocr_input_ids, ocr_attention_mask, pixel_attention_mask, spatial_shapes, **kwargs
        )
        fused = self.fuse(
            features.frame_embeds,
            features.ocr_embeds,
            ocr_mask,
            features.patch_embeds,
            features.frame_norms,
            frame_mask,
            **kwargs,
        )
        fused.vision_model_output, fused.ocr_model_output = features.vision_model_output, features.ocr_model_output
        return fused

    def encode_videos(
        self,
        pixel_values_videos: torch.Tensor,
        ocr_input_ids: torch.Tensor | None = None,
        ocr_attention_mask: torch.Tensor | None = None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> TCDVideoFeatures:
        """
        The part of [`~TCDModel.get_video_features`] that runs the towers, nearly all of its cost; `fuse` is the rest.

        Args:
            pixel_values_videos, ocr_input_ids, ocr_attention_mask, pixel_attention_mask, spatial_shapes: see
                [`~TCDModel.get_video_features`].

        Returns:
            [`TCDVideoFeatures`] with `frame_embeds`, `frame_norms`, `ocr_embeds` and `patch_embeds`, and the towers'
            outputs.

        Raises:
            ValueError: see [`~TCDModel.get_video_features`].
        """
        check_inputs(self.config, pixel_values_videos, ocr_input_ids)
        extras = {"pixel_attention_mask": pixel_attention_mask, "spatial_shapes": spatial_shapes}
        frame_embeds, frame_norms, patch_embeds, vision_output = encode_frames(
            self.backbone, pixel_values_videos, extras, self.config.use_patch_features, **kwargs
        )
        ocr_embeds = ocr_output = None
        if self.config.reads_ocr and ocr_input_ids is not None:
            ocr_embeds, ocr_output = encode_captions(self.ocr_encoder, ocr_input_ids, ocr_attention_mask, **kwargs)
        return TCDVideoFeatures(
            frame_embeds=frame_embeds,
            frame_norms=frame_norms,
            ocr_embeds=ocr_embeds,
            patch_embeds=patch_embeds,
            vision_model_output=vision_output,
            ocr_model_output=ocr_output,
        )

    def fuse(
        self,
        frame_embeds: torch.Tensor,
        ocr_embeds: torch.Tensor | None = None,
        ocr_mask: torch.Tensor | None = None,
        patch_embeds: torch.Tensor | None = None,
        frame_norms: torch.Tensor | None = None,
        frame_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> TCDVideoFeatures:
        """
        The part of [`~TCDModel.get_video_features`] after the encoders, for embeddings computed before.

        Args:
            frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`): L2-normalised.
            ocr_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`, *optional*):
                L2-normalised; ignored with `use_ocr=False` or `interaction="tib"`.
            ocr_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*):
                Windows with text; all of them by default.
            patch_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, num_patches, dim)`, *optional*):
                L2-normalised; ignored with `use_patch_features=False`.
            frame_norms (`torch.FloatTensor` of shape `(batch_size, num_frames)`, *optional*):
                What `frame_embeds` were divided by, as [`~TCDModel.encode_videos`] gives it. Needed where the
                configuration's `reads_raw_frames` is true.
            frame_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*):
                Frames that count; all by default, and in a row that is all `False`.

        Returns:
            [`TCDVideoFeatures`], without the towers' outputs.

        Raises:
            ValueError: shapes that do not fit each other or the configuration, or something missing that the model
                reads.
        """
        check_features(self.config, frame_embeds, ocr_embeds, ocr_mask, patch_embeds, frame_norms, frame_mask)
        frame_mask = None if frame_mask is None else visible_windows(frame_mask.bool())
        patch_embeds = patch_embeds if self.config.use_patch_features else None
        temporal_embeds = frame_embeds
        if self.temporal_encoder is not None:
            temporal_embeds = self.temporal_encoder(frame_embeds, frame_norms, frame_mask)
        mean_frames = temporal_embeds.mean(dim=1) if frame_mask is None else masked_mean(temporal_embeds, frame_mask)
        coarse_embeds = nn.functional.normalize(mean_frames, dim=-1)
        if not self.config.reads_ocr or ocr_embeds is None:
            return TCDVideoFeatures(
                frame_embeds=frame_embeds,
                frame_norms=frame_norms,
                frame_mask=None if frame_mask is None else frame_mask.long(),
                fused_frame_embeds=temporal_embeds if self.config.interaction == "tib" else frame_embeds,
                coarse_embeds=coarse_embeds,
                patch_embeds=patch_embeds,
            )
        if ocr_mask is None:
            ocr_mask = frame_embeds.new_ones(frame_embeds.shape[:2])
        ocr_mask = ocr_mask.bool()
        mask = visible_windows(ocr_mask)
        fused_frame_embeds, fused_ocr_embeds, co_attentions = frame_embeds, ocr_embeds, None
        if self.co_attention is not None and self.config.text_condition == "after":
            fused_frame_embeds, fused_ocr_embeds, weights = self.co_attention(
                frame_embeds, ocr_embeds, mask, frame_mask
            )
            if kwargs.get("output_attentions") and weights[0] is not None:
                co_attentions = weights
        ocr_half = nn.functional.normalize(masked_mean(ocr_embeds, mask), dim=-1)
        coarse_embeds = coarse_embeds + ocr_half * ocr_mask.any(dim=-1, keepdim=True)
        return TCDVideoFeatures(
            frame_embeds=frame_embeds,
            frame_norms=frame_norms,
            frame_mask=None if frame_mask is None else frame_mask.long(),
            ocr_embeds=ocr_embeds,
            fused_frame_embeds=fused_frame_embeds,
            fused_ocr_embeds=fused_ocr_embeds,
            ocr_mask=ocr_mask.long(),
            coarse_embeds=nn.functional.normalize(coarse_embeds, dim=-1),
            patch_embeds=patch_embeds,
            co_attentions=co_attentions,
        )

    def precompute(self, video_features: TCDVideoFeatures) -> TCDVideoFeatures:
        """
        The same features with the tables that factorised scoring reads: worth it where videos are scored more than
        once. They belong to these weights; compute them anew after training.
        """
        tables = scoring_tables(video_features, clue_attention(self))
        return TCDVideoFeatures(**{**video_features, "scoring_tables": tables})

    def get_coarse_queries(self, text_embeds: torch.Tensor) -> torch.Tensor:
        """
        The vectors whose dot products with `coarse_embeds` of [`TCDVideoFeatures`] are the coarse scores, by which a
        large collection is searched first (`s W_g`; the texts themselves before training).

        Args:
            text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.

        Returns:
            `torch.FloatTensor` of shape `(num_texts, dim)`, float32, not normalised.
        """
        with full_precision(text_embeds.device):
            return nn.functional.linear(text_embeds.float(), self.coarse_projection.weight.float())

    def score(
        self, text_embeds: torch.Tensor, video_features: TCDVideoFeatures, method: str | None = None
    ) -> TCDScores:
        """
        Scores every text against every video, in blocks of pairs that bound memory.

        Args:
            text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised, as
                [`~TCDModel.get_text_features`] gives them.
            video_features ([`TCDVideoFeatures`]): of `num_videos` videos.
            method (`str`, *optional*):
                `"reference"` runs the method as written, pair by pair. `"factorized"` gives the same scores to
                rounding, over 100 times as fast, and is the default where it applies:
                with `text_condition="after"` in evaluation mode, or in training without `fusion_dropout`; and always
                with `interaction="tib"`.

        Returns:
            [`TCDScores`] of shape `(num_texts, num_videos)`, float32. With `interaction="tib"` the similarity is the
            weighted mean of the configuration's `rerank_*_weight`, and the text-video part is all there is.

        Raises:
            ValueError: an unknown method, `"factorized"` where it does not apply, no text or no video, or text
                embeddings of another width.
        """
        with full_precision(text_embeds.device):
            return pair_scores(make_scorer(self, text_embeds, video_features, method), video_features)

    def score_pairs(
        self, text_embeds: torch.Tensor, video_features: TCDVideoFeatures, candidates: torch.Tensor
    ) -> TCDScores:
        """
        Scores every text against its own candidates only: the second stage of retrieval. Equals what
        [`~TCDModel.score`] gives at those places; memory is bounded by blocks of candidates.

        Args:
            text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
            video_features ([`TCDVideoFeatures`]): of `num_videos` videos. [`~TCDModel.precompute`] them if a video is a
                candidate more than once.
            candidates (`torch.LongTensor` of shape `(num_texts, num_candidates)`): rows of `video_features` for each
                text; -1 where a text has fewer candidates.

        Returns:
            [`TCDScores`] of shape `(num_texts, num_candidates)`, float32; `-inf` where the candidate is -1.

        Raises:
            ValueError: as [`~TCDModel.score`]; candidates of another shape or type, or that are no rows of
                `video_features`.
        """
        with full_precision(text_embeds.device):
            return candidate_scores(make_scorer(self, text_embeds, video_features), video_features, candidates)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values_videos: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        ocr_input_ids: torch.Tensor | None = None,
        ocr_attention_mask: torch.Tensor | None = None,
        ocr_mask: torch.Tensor | None = None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        frame_mask: torch.Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> tuple | TCDOutput:
        """
        Embeds texts, videos, or both; scores every text against every video where both are given.

        Args:
            input_ids, attention_mask: see [`~TCDModel.get_text_features`].
            pixel_values_videos, ocr_input_ids, ocr_attention_mask, ocr_mask, pixel_attention_mask, spatial_shapes,
                frame_mask: see [`~TCDModel.get_video_features`].
            return_loss (`bool`, *optional*, defaults to `False`): add the losses; text `i` then describes video `i`. In
                a process group the candidates of all processes count, with gradient, and every process returns the loss
                of the whole batch; average gradients over processes, as `DistributedDataParallel` does.

        Returns:
            [`TCDOutput`], or a tuple of its fields with `return_dict=False`.

        Raises:
            ValueError: neither text nor video; or `return_loss` without as many texts as videos.
        """
        if input_ids is None and pixel_values_videos is None:
            raise ValueError("Nothing to embed: give `input_ids` (texts), `pixel_values_videos` (videos), or both.")
        text_output: TCDTextFeatures | None = None
        text_embeds: Any = None
        video_features: Any = None
        if input_ids is not None:
            text_output = self.get_text_features(input_ids, attention_mask, return_dict=True, **kwargs)
            text_embeds = text_output.pooler_output
        if pixel_values_videos is not None:
            video_features = self.get_video_features(
                pixel_values_videos,
                ocr_input_ids,
                ocr_attention_mask,
                ocr_mask,
                pixel_attention_mask,
                spatial_shapes,
                frame_mask,
                return_dict=True,
                **kwargs,
            )
        matched: dict[str, Any] = {}  # losses and logits
        if return_loss:
            matched = losses_over_processes(self, text_embeds, video_features)
            if self.config.interaction == "tib":  # whose losses have scores of their own
                with torch.no_grad():
                    matched |= self._logits(self.score(text_embeds, video_features))
        elif text_embeds is not None and video_features is not None:
            matched = self._logits(self.score(text_embeds, video_features))
        return TCDOutput(
            **matched, text_embeds=text_embeds, video_features=video_features, text_model_output=text_output
        )

    def compute_losses(self, text_embeds: torch.Tensor, video_features: TCDVideoFeatures) -> TCDOutput:
        """
        The losses of pairs that are embedded already; nothing is gathered from other processes.

        Args:
            text_embeds (`torch.FloatTensor` of shape `(batch_size, dim)`): L2-normalised; text `i` describes video `i`.
            video_features ([`TCDVideoFeatures`]): of `batch_size` videos.

        Returns:
            [`TCDOutput`] with the losses, float32, and the scores; not those with `interaction="tib"`, whose losses
            have scores of their own.

        Raises:
            ValueError: not as many texts as videos.
        """
        with full_precision(text_embeds.device):
            if self.config.interaction == "tib":
                losses: dict[str, Any] = tib_losses(self, text_embeds, video_features, self._logits_scale())
                return TCDOutput(**losses)
            scores = self.score(text_embeds, video_features)
            losses = tcd_losses(self, text_embeds, video_features, scores.similarity, self._logits_scale())
            return TCDOutput(**losses, **self._logits(scores))

    def _logits(self, scores: TCDScores) -> dict[str, Any]:
        """Fields of the output: logits, and the parts of the similarity."""
        logits_per_text = scores.similarity * self._logits_scale()
        return {
            "logits_per_text": logits_per_text,
            "logits_per_video": logits_per_text.T,
            "text_video_similarity": scores.text_video,
            "text_ocr_similarity": scores.text_ocr,
            "text_hybrid_similarity": scores.text_hybrid,
        }

    def _logits_scale(self) -> torch.Tensor:
        scale = self.logit_scale.exp().float()
        return scale.clamp(max=MAX_LOGIT_SCALE) if self.config.interaction == "tib" else scale
