"""TCD model: text-video retrieval that reads the text in the video."""

import contextlib

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from .backbones import PATCH_BACKBONES, encode_captions, encode_text, project_patches, text_tower
from .calibration import CalibrationLoss
from .co_attention import VideoOCRCoAttention
from .coarse_to_fine import PearsonConstraint, TemporalEncoder, identity_projection
from .configuration_tcd import TCDConfig
from .contrastive import ContrastiveLoss, check_even_batches, gather_with_gradient, world
from .distillation import ClueDistilling, CrossAttentionClue, masked_mean
from .factorized_scoring import scoring_tables
from .gating import visible_windows
from .losses import tcd_losses, tib_losses
from .outputs import TCDOutput, TCDScores, TCDVideoFeatures
from .pretrained import LOGIT_SCALE_INIT, TCDPreTrainedModel
from .scoring import candidate_scores, pair_scores

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
        self.backbone = AutoModel.from_config(config.backbone_config, trust_remote_code=False)
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
            self.ocr_backbone = text_tower(AutoModel.from_config(config.backbone_config, trust_remote_code=False))
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
        self.calibration = CalibrationLoss(config.calibration_temperature)
        self.pearson = PearsonConstraint(config.pearson_diagonal_weight, config.pearson_off_diagonal_weight)
        has_scale = hasattr(self.backbone, "logit_scale")
        self.own_logit_scale = None if has_scale else nn.Parameter(torch.tensor(LOGIT_SCALE_INIT))
        self.post_init()

    @property
    def ocr_encoder(self) -> PreTrainedModel:
        """The encoder of OCR captions: the backbone itself, unless `share_ocr_encoder=False`."""
        return self._modules.get("ocr_backbone", self.backbone)

    @property
    def logit_scale(self) -> nn.Parameter:
        """Learned log scale of the logits, and of the gate: the backbone's, or the model's own where that has none."""
        return self.backbone.logit_scale if self.own_logit_scale is None else self.own_logit_scale

    def get_input_embeddings(self) -> nn.Module:
        return self._embeddings_holder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self._embeddings_holder.set_input_embeddings(value)

    @property
    def _embeddings_holder(self) -> nn.Module:
        # CLIPModel does not tell where its token embeddings are; its text tower does.
        return getattr(self.backbone, "text_model", self.backbone)

    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> BaseModelOutputWithPooling:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(num_texts, sequence_length)`)
            attention_mask (`torch.LongTensor` of shape `(num_texts, sequence_length)`, *optional*)

        Returns:
            The text tower's output; `pooler_output` `(num_texts, dim)` is the L2-normalised embedding.
        """
        return encode_text(self.backbone, input_ids, attention_mask, **kwargs)

    def get_video_features(
        self,
        pixel_values_videos: torch.Tensor,
        ocr_input_ids: torch.Tensor | None = None,
        ocr_attention_mask: torch.Tensor | None = None,
        ocr_mask: torch.Tensor | None = None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        **kwargs,
    ) -> TCDVideoFeatures:
        """
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

        Returns:
            [`TCDVideoFeatures`].

        Raises:
            ValueError: another number of frames or windows than the configuration's, or no OCR captions where the
                model reads them.
        """
        features = self.encode_videos(
            pixel_values_videos, ocr_input_ids, ocr_attention_mask, pixel_attention_mask, spatial_shapes, **kwargs
        )
        fused = self.fuse(features.frame_embeds, features.ocr_embeds, ocr_mask, features.patch_embeds, **kwargs)
        fused.vision_model_output, fused.ocr_model_output = features.vision_model_output, features.ocr_model_output
        return fused

    def encode_videos(
        self,
        pixel_values_videos: torch.Tensor,
        ocr_input_ids: torch.Tensor | None = None,
        ocr_attention_mask: torch.Tensor | None = None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        **kwargs,
    ) -> TCDVideoFeatures:
        """
        The part of [`~TCDModel.get_video_features`] that runs the towers, nearly all of its cost; `fuse` is the rest.

        Args:
            pixel_values_videos, ocr_input_ids, ocr_attention_mask, pixel_attention_mask, spatial_shapes: see
                [`~TCDModel.get_video_features`].

        Returns:
            [`TCDVideoFeatures`] with `frame_embeds`, `ocr_embeds` and `patch_embeds`, and the towers' outputs.

        Raises:
            ValueError: see [`~TCDModel.get_video_features`].
        """
        self._check_inputs(pixel_values_videos, ocr_input_ids)
        shape = pixel_values_videos.shape[:2]
        extras = {"pixel_attention_mask": pixel_attention_mask, "spatial_shapes": spatial_shapes}
        vision_output = self.backbone.get_image_features(
            pixel_values=pixel_values_videos.flatten(0, 1).to(self.dtype),  # not every tower does that itself
            return_dict=True,
            **{name: value.flatten(0, 1) for name, value in extras.items() if value is not None},
            **kwargs,
        )
        frame_embeds = nn.functional.normalize(vision_output.pooler_output, dim=-1)
        features = TCDVideoFeatures(frame_embeds=frame_embeds.unflatten(0, shape), vision_model_output=vision_output)
        if self.config.use_patch_features:
            patch_embeds = project_patches(self.backbone, vision_output.last_hidden_state)
            features.patch_embeds = nn.functional.normalize(patch_embeds, dim=-1).unflatten(0, shape)
        if self.config.reads_ocr:
            features.ocr_embeds, features.ocr_model_output = encode_captions(
                self.ocr_encoder, ocr_input_ids, ocr_attention_mask, **kwargs
            )
        return features

    def _check_inputs(self, pixel_values_videos, ocr_input_ids):
        """Refuses what would fail later, after the towers ran."""
        shape = tuple(pixel_values_videos.shape)
        if len(shape) < 4 or shape[1] != self.config.num_frames:
            raise ValueError(
                f"`pixel_values_videos` must have shape (batch_size, {self.config.num_frames}, ...), the second being "
                f"`num_frames` of the configuration; got {shape}."
            )
        if not self.config.reads_ocr:
            return
        if ocr_input_ids is None:
            raise ValueError(
                "This model reads OCR captions, but `ocr_input_ids` is missing. TCDProcessor makes them from videos; a "
                "model without OCR is configured by `use_ocr=False`."
            )
        if ocr_input_ids.ndim != 3 or tuple(ocr_input_ids.shape[:2]) != shape[:2]:
            raise ValueError(
                f"`ocr_input_ids` must have shape ({shape[0]}, {shape[1]}, sequence_length), one caption per window of "
                f"each video; got {tuple(ocr_input_ids.shape)}."
            )

    def fuse(
        self,
        frame_embeds: torch.Tensor,
        ocr_embeds: torch.Tensor | None = None,
        ocr_mask: torch.Tensor | None = None,
        patch_embeds: torch.Tensor | None = None,
        **kwargs,
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

        Returns:
            [`TCDVideoFeatures`], without the towers' outputs.

        Raises:
            ValueError: shapes that do not fit each other or the configuration.
        """
        expected = (len(frame_embeds), self.config.num_frames, self.config.projection_dim)
        check_shape("frame_embeds", frame_embeds, expected)
        if not self.config.use_patch_features:
            patch_embeds = None
        elif patch_embeds is None:
            raise ValueError("This model embeds patches (`use_patch_features=True`), but `patch_embeds` is missing.")
        else:
            check_shape("patch_embeds", patch_embeds, (*expected[:2], *patch_embeds.shape[2:3], expected[2]))
        temporal_embeds = frame_embeds if self.temporal_encoder is None else self.temporal_encoder(frame_embeds)
        coarse_embeds = nn.functional.normalize(temporal_embeds.mean(dim=1), dim=-1)
        if not self.config.reads_ocr:
            return TCDVideoFeatures(
                frame_embeds=frame_embeds,
                fused_frame_embeds=temporal_embeds if self.config.interaction == "tib" else frame_embeds,
                coarse_embeds=coarse_embeds,
                patch_embeds=patch_embeds,
            )
        if ocr_embeds is None:
            raise ValueError("This model reads OCR captions (`use_ocr=True`), but `ocr_embeds` is missing.")
        check_shape("ocr_embeds", ocr_embeds, expected)
        if ocr_mask is None:
            ocr_mask = torch.ones(expected[:2], dtype=torch.bool, device=frame_embeds.device)
        check_shape("ocr_mask", ocr_mask, expected[:2])
        ocr_mask = ocr_mask.bool()

        mask = visible_windows(ocr_mask)
        fused_frame_embeds, fused_ocr_embeds, co_attentions = frame_embeds, ocr_embeds, None
        if self.co_attention is not None and self.config.text_condition == "after":
            fused_frame_embeds, fused_ocr_embeds, weights = self.co_attention(frame_embeds, ocr_embeds, mask)
            if kwargs.get("output_attentions") and weights[0] is not None:
                co_attentions = weights
        ocr_half = nn.functional.normalize(masked_mean(ocr_embeds, mask), dim=-1)
        coarse_embeds = coarse_embeds + ocr_half * ocr_mask.any(dim=-1, keepdim=True)
        return TCDVideoFeatures(
            frame_embeds=frame_embeds,
            ocr_embeds=ocr_embeds,
            fused_frame_embeds=fused_frame_embeds,
            fused_ocr_embeds=fused_ocr_embeds,
            ocr_mask=ocr_mask,
            coarse_embeds=nn.functional.normalize(coarse_embeds, dim=-1),
            patch_embeds=patch_embeds,
            co_attentions=co_attentions,
        )

    def precompute(self, video_features: TCDVideoFeatures) -> TCDVideoFeatures:
        """
        The same features with the tables that factorised scoring reads: worth it where videos are scored more than
        once. They belong to these weights; compute them anew after training.
        """
        return TCDVideoFeatures(**{**video_features, "scoring_tables": scoring_tables(self, video_features)})

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
            return pair_scores(self, text_embeds, video_features, method)

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
            return candidate_scores(self, text_embeds, video_features, candidates)

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
        return_loss: bool | None = None,
        **kwargs,
    ) -> tuple | TCDOutput:
        """
        Embeds texts, videos, or both; scores every text against every video where both are given.

        Args:
            input_ids, attention_mask: see [`~TCDModel.get_text_features`].
            pixel_values_videos, ocr_input_ids, ocr_attention_mask, ocr_mask, pixel_attention_mask, spatial_shapes: see
                [`~TCDModel.get_video_features`].
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
        output = TCDOutput()
        if input_ids is not None:
            output.text_model_output = self.get_text_features(input_ids, attention_mask, **kwargs)
            output.text_embeds = output.text_model_output.pooler_output
        if pixel_values_videos is not None:
            output.video_features = self.get_video_features(
                pixel_values_videos,
                ocr_input_ids,
                ocr_attention_mask,
                ocr_mask,
                pixel_attention_mask,
                spatial_shapes,
                **kwargs,
            )
        if return_loss:
            self._add_losses(output)
        elif input_ids is not None and pixel_values_videos is not None:
            self._add_scores(output, self.score(output.text_embeds, output.video_features))
        # Fields are put in the order of the class, whatever the order they were computed in.
        return TCDOutput(**{name: getattr(output, name) for name in TCDOutput.__dataclass_fields__})

    def _add_scores(self, output: TCDOutput, scores: TCDScores):
        output.logits_per_text = scores.similarity * self._logits_scale()
        output.logits_per_video = output.logits_per_text.T
        output.text_video_similarity = scores.text_video
        output.text_ocr_similarity = scores.text_ocr
        output.text_hybrid_similarity = scores.text_hybrid

    def _logits_scale(self) -> torch.Tensor:
        scale = self.logit_scale.exp().float()
        return scale.clamp(max=MAX_LOGIT_SCALE) if self.config.interaction == "tib" else scale

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
        output = TCDOutput()
        with full_precision(text_embeds.device):
            if self.config.interaction == "tib":
                losses = tib_losses(self, text_embeds, video_features, self._logits_scale())
            else:
                scores = self.score(text_embeds, video_features)
                losses = tcd_losses(self, text_embeds, video_features, scores.similarity, self._logits_scale())
                self._add_scores(output, scores)
        for name, loss in losses.items():
            setattr(output, name, loss)
        return output

    def _add_losses(self, output: TCDOutput):
        """Every process scores all texts against all videos; its own block of the scores goes to the output."""
        if output.text_embeds is None or output.video_features is None:
            raise ValueError("`return_loss=True` needs both texts and videos, text i describing video i.")
        batch_size = len(output.text_embeds)
        check_even_batches(batch_size, len(output.video_features.frame_embeds), output.text_embeds.device)
        texts = gather_with_gradient(output.text_embeds)
        whole = self.compute_losses(texts, output.video_features.map_videos(gather_with_gradient))
        start = world()[0] * batch_size
        own = slice(start, start + batch_size)
        for name, value in whole.items():
            setattr(output, name, value[own, own] if value.ndim else value)
        if self.config.interaction == "tib":
            with torch.no_grad():
                self._add_scores(output, self.score(output.text_embeds, output.video_features))


def check_shape(name: str, tensor: torch.Tensor, expected: tuple[int, ...]):
    if tuple(tensor.shape) != tuple(expected):
        raise ValueError(
            f"`{name}` must have shape {tuple(expected)}, got {tuple(tensor.shape)}. The number of frames and the "
            "joint width are those of the configuration (`num_frames`, `projection_dim`)."
        )


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Similarities, ranks and losses are float32, under autocast too."""
    return torch.autocast(device_type=device.type, enabled=False)
