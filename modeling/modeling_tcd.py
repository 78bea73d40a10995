"""TCD model: text-video retrieval that reads the text in the video."""

import contextlib
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput, can_return_tuple

from .calibration import CalibrationLoss
from .co_attention import VideoOCRCoAttention
from .configuration_tcd import TCDConfig
from .contrastive import ContrastiveLoss, check_even_batches, gather_with_gradient, world
from .distillation import ClueDistilling, CrossAttentionClue, masked_mean
from .factorized_scoring import TCDScoringTables, scoring_tables
from .gating import visible_windows
from .scoring import TCDScores, pair_scores

__all__ = ["TCDModel", "TCDOutput", "TCDPreTrainedModel", "TCDVideoFeatures"]

LOGIT_SCALE_INIT = 2.6592  # CLIP's: a temperature of 0.07


@dataclass
class TCDVideoFeatures(ModelOutput):
    """
    Everything a video is scored by, free of any query: what an index stores.

    Args:
        frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`):
            L2-normalised frame embeddings of the backbone (`v`); the gate reads them.
        ocr_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`, *optional*):
            L2-normalised embeddings of the windows' captions (`o`). `None` where the model does not read OCR.
        fused_frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`):
            Frames after the co-attention (`y`), not normalised; the gate acts on them. The frames themselves without
            co-attention, and with `text_condition="before"`, where it runs for every pair.
        fused_ocr_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`, *optional*):
            Windows after the co-attention (`x`), likewise.
        ocr_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*):
            Windows with text. A row without any is scored over all its windows.
        coarse_embeds (`torch.FloatTensor` of shape `(batch_size, dim)`):
            One L2-normalised vector per video, for recall (ours): `n(n(mean v) + n(mean o))`, the second term only
            where the video has text.
        patch_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, num_patches, dim)`, *optional*):
            Reserved for EERCF's patch level; `None` in this version.
        vision_model_output (`BaseModelOutputWithPooling`, *optional*):
            The image tower's output over all frames, `batch_size * num_frames` rows.
        ocr_model_output (`BaseModelOutputWithPooling`, *optional*):
            The text tower's output over the captions; each different caption of the batch is encoded once, and has
            one row.
        co_attentions (`tuple(torch.FloatTensor)`, *optional*):
            Attention weights `(batch_size, num_heads, num_frames, num_frames)` of video reading OCR and of OCR reading
            video, when `output_attentions=True` and the attention implementation gives them (`"eager"`).
        scoring_tables ([`TCDScoringTables`], *optional*):
            What [`~TCDModel.precompute`] adds, so that scoring need not compute it for every call.
    """

    frame_embeds: torch.FloatTensor | None = None
    ocr_embeds: torch.FloatTensor | None = None
    fused_frame_embeds: torch.FloatTensor | None = None
    fused_ocr_embeds: torch.FloatTensor | None = None
    ocr_mask: torch.BoolTensor | None = None
    coarse_embeds: torch.FloatTensor | None = None
    patch_embeds: torch.FloatTensor | None = None
    vision_model_output: BaseModelOutputWithPooling | None = None
    ocr_model_output: BaseModelOutputWithPooling | None = None
    co_attentions: tuple[torch.FloatTensor, ...] | None = None
    scoring_tables: TCDScoringTables | None = None

    def map_videos(self, function) -> "TCDVideoFeatures":
        """The same features with `function` applied to every tensor whose rows are videos."""
        tensors = {name: function(value) for name, value in self.items() if torch.is_tensor(value)}
        tables = self.scoring_tables
        if tables is not None:
            tables = TCDScoringTables(**{name: function(value) for name, value in tables.items()})
        return TCDVideoFeatures(**tensors, scoring_tables=tables)

    def split(self, size: int) -> list["TCDVideoFeatures"]:
        """Pieces of at most `size` videos, in order."""
        return [
            self.map_videos(lambda rows, start=start: rows[start : start + size])
            for start in range(0, len(self.frame_embeds), size)
        ]


@dataclass
class TCDOutput(ModelOutput):
    """
    What [`TCDModel`] returns. `T` texts, `B` videos; a field is `None` where its inputs were not given.

    Args:
        loss (`torch.FloatTensor`, scalar): `contrastive_loss + calibration_weight * calibration_loss`, with
            `return_loss=True`.
        contrastive_loss (`torch.FloatTensor`, scalar): symmetric InfoNCE over the pairs of all processes.
        calibration_loss (`torch.FloatTensor`, scalar): HSC, in squared frames, with `use_calibration`.
        coarse_loss, pearson_loss (`torch.FloatTensor`, scalar): reserved for EERCF's terms; `None` in this version.
        logits_per_text (`torch.FloatTensor` of shape `(T, B)`): `exp(logit_scale)` times the similarity.
        logits_per_video (`torch.FloatTensor` of shape `(B, T)`): its transpose.
        text_video_similarity, text_ocr_similarity, text_hybrid_similarity (`torch.FloatTensor` of shape `(T, B)`):
            The parts of the similarity: why a video matched.
        text_embeds (`torch.FloatTensor` of shape `(T, dim)`): L2-normalised.
        video_features ([`TCDVideoFeatures`]): of the `B` videos, the towers' outputs with them.
        text_model_output (`BaseModelOutputWithPooling`): the text tower's output for the texts.
    """

    loss: torch.FloatTensor | None = None
    contrastive_loss: torch.FloatTensor | None = None
    calibration_loss: torch.FloatTensor | None = None
    coarse_loss: torch.FloatTensor | None = None
    pearson_loss: torch.FloatTensor | None = None
    logits_per_text: torch.FloatTensor | None = None
    logits_per_video: torch.FloatTensor | None = None
    text_video_similarity: torch.FloatTensor | None = None
    text_ocr_similarity: torch.FloatTensor | None = None
    text_hybrid_similarity: torch.FloatTensor | None = None
    text_embeds: torch.FloatTensor | None = None
    video_features: TCDVideoFeatures | None = None
    text_model_output: BaseModelOutputWithPooling | None = None

    def to_tuple(self) -> tuple:
        return tuple(v.to_tuple() if isinstance(v, ModelOutput) else v for v in self.values())


class TCDPreTrainedModel(PreTrainedModel):
    """Weights initialisation, and saving and loading, of TCD models."""

    config: TCDConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values_videos"
    input_modalities = ("video", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["VideoOCRCoAttention", "ClueDistilling", "CrossAttentionClue"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, TCDModel) and module.own_logit_scale is not None:
            init.constant_(module.own_logit_scale, LOGIT_SCALE_INIT)
        elif isinstance(module, VideoOCRCoAttention):
            init.normal_(module.position_embedding, std=std)
        elif isinstance(module, ClueDistilling):
            init.normal_(module.video_clue, std=std)
            init.normal_(module.ocr_clue, std=std)
            init.zeros_(module.clue_type_embedding)
            init.zeros_(module.video_type_embedding)
            init.zeros_(module.ocr_type_embedding)
        elif hasattr(module, "neutral_start"):
            {"zeros": init.zeros_, "eye": init.eye_}[module.neutral_start](module.weight)


class TCDModel(TCDPreTrainedModel):
    """
    Scene-text aware text-video retrieval: *Temporal Calibrating and Distilling* (TCD, AAAI 2026) on any dual encoder.

    A frame and a window-OCR caption per window are embedded by the backbone; a co-attention lets the two sequences read
    each other, once per video; a query then gates both, and is matched against the frames, the windows, and a hybrid
    clue distilled from both. The similarity is the mean of the three cosines.

    All weights but the SigLIP family's `logit_bias`, which the InfoNCE loss does not see, receive a gradient.

    Args:
        config ([`TCDConfig`]): the model's configuration. Building from it gives random weights.

    Raises:
        NotImplementedError: `interaction="tib"`.

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
        if config.interaction == "tib":
            raise NotImplementedError('`interaction="tib"` is not available yet; use `interaction="tcd"`.')
        reads_ocr = config.use_ocr
        self.backbone = AutoModel.from_config(config.backbone_config)
        if not hasattr(self.backbone, "get_text_features") or not hasattr(self.backbone, "get_image_features"):
            raise ValueError(
                f"The backbone {type(self.backbone).__name__} is no dual encoder: it must have `get_text_features` and "
                "`get_image_features`, as CLIP, SigLIP and SigLIP 2 do."
            )
        if reads_ocr and not config.share_ocr_encoder:
            self.ocr_backbone = text_tower(AutoModel.from_config(config.backbone_config))
        self.co_attention = VideoOCRCoAttention(config) if reads_ocr and config.use_co_attention else None
        self.distillation = None
        if reads_ocr and config.use_distillation:
            self.distillation = ClueDistilling(config)
        elif reads_ocr and config.use_cross_attention:
            self.distillation = CrossAttentionClue(config)
        self.contrastive = ContrastiveLoss()
        self.calibration = CalibrationLoss(config.calibration_temperature)
        has_scale = hasattr(self.backbone, "logit_scale")
        self.own_logit_scale = None if has_scale else nn.Parameter(torch.tensor(LOGIT_SCALE_INIT))
        self.post_init()

    @classmethod
    def from_backbone(
        cls, backbone: str | PreTrainedModel, backbone_kwargs: dict | None = None, **config_overrides
    ) -> "TCDModel":
        """
        A model on pretrained towers, its new modules neutral: a sane zero-shot model, and where training starts. Its
        similarity is the mean of the cosines of the text with the gated frames, the gated windows, and both.

        Args:
            backbone (`str`, `os.PathLike` or `PreTrainedModel`):
                Name or folder of a pretrained dual encoder, loaded by `AutoModel.from_pretrained`; or a loaded one,
                whose weights are copied.
            backbone_kwargs (`dict`, *optional*):
                Passed to `AutoModel.from_pretrained` (`dtype`, `revision`, `local_files_only`, ...).
            config_overrides:
                Fields of [`TCDConfig`].

        Returns:
            [`TCDModel`] in evaluation mode, in the backbone's dtype.

        Raises:
            ValueError: an override that is no field of [`TCDConfig`].
            TypeError: `backbone_kwargs` beside a backbone that is loaded already.
        """
        known = set(TCDConfig.__dataclass_fields__) - {"backbone_config"}
        unknown = sorted(set(config_overrides) - known)
        if unknown:
            raise ValueError(
                f"{unknown} are no fields of TCDConfig that could be set here; fields are {sorted(known)}."
            )
        if not isinstance(backbone, PreTrainedModel):
            backbone = AutoModel.from_pretrained(backbone, **(backbone_kwargs or {}))
        elif backbone_kwargs:
            raise TypeError("`backbone_kwargs` say how to load a backbone, but a loaded model was given.")

        config = TCDConfig(backbone_config=backbone.config.to_dict(), **config_overrides)
        attn_implementation = backbone.config._attn_implementation
        model = cls._from_config(config, dtype=backbone.dtype, attn_implementation=attn_implementation)
        weights = backbone.state_dict()
        model.backbone.load_state_dict(weights)
        if model.ocr_encoder is not model.backbone:
            model.ocr_encoder.load_state_dict({name: weights[name] for name in model.ocr_encoder.state_dict()})
        return model.eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """
        As `PreTrainedModel.from_pretrained`. A checkpoint of a shared encoder that is loaded with
        `share_ocr_encoder=False` gives both towers its weights.
        """
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        missing = {name for name in info["missing_keys"] if name.startswith("ocr_backbone.")}
        if missing:
            weights = model.backbone.state_dict()
            own = {name: weights[name] for name in model.ocr_encoder.state_dict() if f"ocr_backbone.{name}" in missing}
            model.ocr_encoder.load_state_dict(own, strict=False)
            info["missing_keys"] = set(info["missing_keys"]) - missing
        return (model, info) if output_loading_info else model

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
                Caption of each window; the empty caption where there is no text. Not needed with `use_ocr=False`.
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
        batch_size, num_frames = pixel_values_videos.shape[:2]
        self._check_inputs(pixel_values_videos, ocr_input_ids)
        extras = {"pixel_attention_mask": pixel_attention_mask, "spatial_shapes": spatial_shapes}
        vision_output = self.backbone.get_image_features(
            pixel_values=pixel_values_videos.flatten(0, 1),
            return_dict=True,
            **{name: value.flatten(0, 1) for name, value in extras.items() if value is not None},
            **kwargs,
        )
        frame_embeds = nn.functional.normalize(vision_output.pooler_output, dim=-1)
        frame_embeds = frame_embeds.unflatten(0, (batch_size, num_frames))

        ocr_embeds = ocr_output = None
        if self.config.use_ocr:
            ocr_embeds, ocr_output = self._encode_captions(ocr_input_ids, ocr_attention_mask, **kwargs)
        features = self.fuse(frame_embeds, ocr_embeds, ocr_mask, **kwargs)
        features.vision_model_output, features.ocr_model_output = vision_output, ocr_output
        return features

    def _check_inputs(self, pixel_values_videos, ocr_input_ids):
        """Refuses what would fail later, after the towers ran."""
        shape = tuple(pixel_values_videos.shape)
        if len(shape) < 4 or shape[1] != self.config.num_frames:
            raise ValueError(
                f"`pixel_values_videos` must have shape (batch_size, {self.config.num_frames}, ...), the second being "
                f"`num_frames` of the configuration; got {shape}."
            )
        if not self.config.use_ocr:
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

    def _encode_captions(self, ocr_input_ids, ocr_attention_mask, **kwargs):
        """Text that stays on screen gives equal captions, window after window: each different one is encoded once."""
        rows = ocr_input_ids.flatten(0, 1)
        masks = None if ocr_attention_mask is None else ocr_attention_mask.flatten(0, 1)
        keys = rows if masks is None else torch.cat([rows, masks.to(rows.dtype)], dim=1)
        unique, inverse = keys.unique(dim=0, return_inverse=True)
        unique_rows, unique_masks = unique[:, : rows.shape[1]], None
        if masks is not None:
            unique_masks = unique[:, rows.shape[1] :].to(masks.dtype)
        output = encode_text(self.ocr_encoder, unique_rows, unique_masks, **kwargs)
        return output.pooler_output[inverse].unflatten(0, ocr_input_ids.shape[:2]), output

    def fuse(
        self,
        frame_embeds: torch.Tensor,
        ocr_embeds: torch.Tensor | None = None,
        ocr_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> TCDVideoFeatures:
        """
        The part of [`~TCDModel.get_video_features`] after the encoders, for embeddings computed before.

        Args:
            frame_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`): L2-normalised.
            ocr_embeds (`torch.FloatTensor` of shape `(batch_size, num_frames, dim)`, *optional*):
                L2-normalised; ignored with `use_ocr=False`.
            ocr_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*):
                Windows with text; all of them by default.

        Returns:
            [`TCDVideoFeatures`], without the towers' outputs.

        Raises:
            ValueError: shapes that do not fit each other or the configuration.
        """
        expected = (len(frame_embeds), self.config.num_frames, self.config.projection_dim)
        check_shape("frame_embeds", frame_embeds, expected)
        coarse_embeds = nn.functional.normalize(frame_embeds.mean(dim=1), dim=-1)
        if not self.config.use_ocr:
            return TCDVideoFeatures(
                frame_embeds=frame_embeds, fused_frame_embeds=frame_embeds, coarse_embeds=coarse_embeds
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
            co_attentions=co_attentions,
        )

    def precompute(self, video_features: TCDVideoFeatures) -> TCDVideoFeatures:
        """
        The same features with the tables that factorised scoring reads: worth it where videos are scored more than
        once. They belong to these weights; compute them anew after training.
        """
        tables = scoring_tables(self, video_features)
        return TCDVideoFeatures(**{**video_features, "scoring_tables": tables})

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
                rounding, some 80 times as fast (scripts/benchmark_scoring.py), and is the default where it applies: in
                evaluation mode with `text_condition="after"`.

        Returns:
            [`TCDScores`] of shape `(num_texts, num_videos)`, float32.

        Raises:
            ValueError: an unknown method, `"factorized"` where it does not apply, no text or no video, or text
                embeddings of another width.
        """
        applies = self.config.text_condition == "after" and not self.training
        if method is None:
            method = "factorized" if applies else "reference"
        if method not in ("reference", "factorized"):
            raise ValueError(f'`method` must be "reference" or "factorized", got {method!r}.')
        if method == "factorized" and not applies:
            raise ValueError(
                'Factorised scoring needs evaluation mode (`model.eval()`) and `text_condition="after"`; got '
                f'training={self.training} and "{self.config.text_condition}". Use `method="reference"`.'
            )
        if not len(text_embeds) or not len(video_features.frame_embeds):
            raise ValueError(
                f"Nothing to score: {len(text_embeds)} texts against {len(video_features.frame_embeds)} videos."
            )
        if text_embeds.ndim != 2 or text_embeds.shape[1] != self.config.projection_dim:
            raise ValueError(
                f"`text_embeds` must have shape (num_texts, {self.config.projection_dim}), got "
                f"{tuple(text_embeds.shape)}."
            )
        if self.config.use_ocr and video_features.fused_ocr_embeds is None:
            raise ValueError(
                "This model reads OCR captions (`use_ocr=True`), but the video features hold none: they were made by a "
                "model without OCR."
            )
        with full_precision(text_embeds.device):
            return pair_scores(self, text_embeds, video_features, method)

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
        output.logits_per_text = scores.similarity * self.logit_scale.exp().float()
        output.logits_per_video = output.logits_per_text.T
        output.text_video_similarity = scores.text_video
        output.text_ocr_similarity = scores.text_ocr
        output.text_hybrid_similarity = scores.text_hybrid

    def _add_losses(self, output: TCDOutput):
        """Every process scores all texts against all videos; its own block of the scores goes to the output."""
        if output.text_embeds is None or output.video_features is None:
            raise ValueError("`return_loss=True` needs both texts and videos, text i describing video i.")
        batch_size = len(output.text_embeds)
        check_even_batches(batch_size, len(output.video_features.frame_embeds), output.text_embeds.device)
        texts = gather_with_gradient(output.text_embeds)
        videos = output.video_features.map_videos(gather_with_gradient)
        scores = self.score(texts, videos)

        with full_precision(texts.device):
            scale = self.logit_scale.exp().float()
            output.contrastive_loss = self.contrastive(scores.similarity * scale)
            output.loss = output.contrastive_loss
            if self.config.use_ocr and self.config.use_calibration:
                output.calibration_loss = self.calibration(videos.frame_embeds, videos.ocr_embeds, videos.ocr_mask)
                output.loss = output.loss + self.config.calibration_weight * output.calibration_loss
        start = world()[0] * batch_size
        own = slice(start, start + batch_size)
        self._add_scores(output, TCDScores(**{name: part[own, own] for name, part in scores.items()}))


def encode_text(backbone, input_ids, attention_mask, **kwargs) -> BaseModelOutputWithPooling:
    """Output of a dual encoder's text tower, its `pooler_output` L2-normalised."""
    output = backbone.get_text_features(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
    output.pooler_output = nn.functional.normalize(output.pooler_output, dim=-1)
    return output


def text_tower(backbone: PreTrainedModel) -> PreTrainedModel:
    """What a dual encoder's `get_text_features` needs, without its image side and its logit parameters."""
    for name, _ in list(backbone.named_children()):
        if "vis" in name or "image" in name:
            delattr(backbone, name)
    for name in list(backbone._parameters):
        delattr(backbone, name)
    return backbone


def check_shape(name: str, tensor: torch.Tensor, expected: tuple[int, ...]):
    if tuple(tensor.shape) != tuple(expected):
        raise ValueError(
            f"`{name}` must have shape {tuple(expected)}, got {tuple(tensor.shape)}. The number of frames and the "
            "joint width are those of the configuration (`num_frames`, `projection_dim`)."
        )


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Similarities, ranks and losses are float32, under autocast too."""
    return torch.autocast(device_type=device.type, enabled=False)
