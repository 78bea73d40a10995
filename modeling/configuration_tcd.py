"""TCD model configuration."""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from .configuration_two_tower import SubConfigSpec, TwoTowerConfig

__all__ = ["CALIBRATED_PARTS", "DEFAULTS_BEFORE", "TCDConfig"]

CONFIG_VERSION = 2
# Fields that came later, as the models of before behaved.
DEFAULTS_BEFORE = {
    1: {
        "temporal_input": "normalised",
        "temporal_activation": "gelu",
        "temporal_layer_norm_eps": 1e-5,
        "calibration_temperature": 0.1,
    },
}

# What a calibrated search score is made of, see `search_calibration`.
CALIBRATED_PARTS = ("text_video", "text_ocr", "text_hybrid", "text_window", "lexical")


@strict
class TCDConfig(PreTrainedConfig):
    r"""
    Configuration of a [`TCDModel`]: which dual encoder it stands on, and which parts of the method are on. Every row of
    the papers' ablations is a combination of these fields. The defaults are the full TCD method.

    Args:
        backbone_config (`PreTrainedConfig` or `dict`, *optional*, defaults to `CLIPConfig()`):
            Configuration of a dual encoder that `AutoModel` knows and that has `get_text_features` and
            `get_image_features` (CLIP, SigLIP, SigLIP 2, ...), or a [`TwoTowerConfig`] of towers of any two families.
            A `dict` is resolved by its `model_type`, `"clip"` where it has none.
        interaction (`"tcd"` or `"tib"`, *optional*, defaults to `"tcd"`):
            How a text meets a video: the scene-text aware interaction of TCD, or the text-gated interaction block of
            EERCF, which reads no OCR captions.
        num_frames (`int`, *optional*, defaults to 12):
            Frames per video, and OCR windows per video (N in the paper). [`TCDModel.resize_frames`] changes it.
        use_ocr (`bool`, *optional*, defaults to `True`):
            Read OCR captions. `False` leaves the text-video part alone: no co-attention, no hybrid clue. Ignored with
            `interaction="tib"`; `reads_ocr` tells which holds.
        share_ocr_encoder (`bool`, *optional*, defaults to `True`):
            Encode OCR captions with the text encoder's own weights (ours). `False` gives them a tower of their own. It
            starts as a copy in [`TCDModel.from_backbone`], and where a checkpoint of a shared one is loaded.
        text_condition (`"after"` or `"before"`, *optional*, defaults to `"after"`):
            Whether the query's gate acts after the co-attention (ours: exact scores stay cheap, and object and text
            are bound in time) or before it (the order drawn in TCD figure 2).
        text_condition_temperature (`float`, *optional*, defaults to 5.0):
            Temperature of the gate, above 0 (TCD table A5).
        use_co_attention (`bool`, *optional*, defaults to `True`):
            Let frames and windows read each other (TCD section "Video-OCR co-attention").
        use_distillation (`bool`, *optional*, defaults to `True`):
            Distil the hybrid clue with learned clue tokens (CTCD, TCD algorithm 1).
        use_cross_attention (`bool`, *optional*, defaults to `True`):
            What stands in CTCD's place when `use_distillation=False`: a plain cross-attention, averaged (TCD table
            A4, row 1), or, if `False`, the mean of the gated features (table A5, "only text condition").
        fusion_num_heads (`int`, *optional*, defaults to 1):
            Heads of the co-attention and of the distillation. TCD's algorithm 1 has several; one (ours, as in X-Pool)
            keeps exact scoring cheapest.
        fusion_dropout (`float`, *optional*, defaults to 0.3):
            Dropout on the outputs of the co-attention and of the distillation, in [0, 1).
        use_calibration (`bool`, *optional*, defaults to `True`):
            Add the heterogeneous semantics calibrating loss (HSC) in training.
        calibration_weight (`float`, *optional*, defaults to 0.1):
            Its weight (lambda in the paper; 0.05 on MSR-VTT), 0 or more.
        calibration_temperature (`float`, *optional*):
            Temperature of its soft nearest neighbours (ours), above 0. By default that of the logits,
            `1 / exp(logit_scale)`, .01 for CLIP: it must follow the spread of the cosines within a video.
        temporal_num_layers (`int`, *optional*, defaults to 4):
            Transformer layers over the frames, before they are averaged to the coarse vector, and in which EERCF's
            gated frames are weighed. 0 does without.
        temporal_input (`"raw"` or `"normalised"`, *optional*, defaults to `"raw"`):
            What these layers read and are added to: frames as the image tower's projection gives them, of which
            `fuse` needs the norms, or unit vectors.
        temporal_activation (`"quick_gelu"` or `"gelu"`, *optional*, defaults to `"quick_gelu"`):
            Activation inside them.
        temporal_layer_norm_eps (`float`, *optional*, defaults to 1e-12):
            What their layer norms add to the variance, 0 or more.
        temporal_start (`"neutral"` or `"text_layers"`, *optional*, defaults to `"neutral"`):
            How they start in [`TCDModel.from_backbone`]: by giving the frames back (ours), or as copies of the first
            layers and positions of CLIP's text tower, as in EERCF's code.
        use_patch_features (`bool`, *optional*, defaults to `False`):
            Embed every patch of every frame too, for CLIP and SigLIP. Only `interaction="tib"` scores patches. They
            take as many times the memory of the frames as a frame has patches.
        coarse_loss_weight (`float`, *optional*):
            Weight of the coarse contrastive loss, 0 or more. By default 0.8 with `interaction="tib"`, where it trains
            the mix below, and 0.2 with `"tcd"` (ours: there it serves recall only, and the score that ranks should
            lead the backbone).
        tib_loss_weight (`float`, *optional*, defaults to 0.2):
            Weight of the contrastive loss of the text-gated frames, with `interaction="tib"`.
        pearson_weight (`float`, *optional*, defaults to 0.001):
            Weight of the Pearson constraint.
        pearson_diagonal_weight, pearson_off_diagonal_weight (`float`, *optional*, default to 0.14 and 0.0):
            Within the Pearson constraint: weight of making equal dimensions correlate, and of decorrelating different
            ones.
        pearson_video_weight, pearson_tib_frame_weight, pearson_tib_patch_weight (`float`, *optional*, default to 1.0,
        1.0 and 0.0):
            Weight of the constraint between texts and coarse vectors, text-gated frames, and text-gated patches; the
            last two with `interaction="tib"`.
        weak_temperature (`float`, *optional*, defaults to 0.01):
            Temperature at which a text's cosines with frames, or with patches, weigh themselves ("weak" scores of
            EERCF), above 0.
        tib_frame_temperature, tib_patch_temperature (`float`, *optional*, default to 0.1 and 0.01):
            Temperatures of the text's gate on frames and on patches, above 0.
        training_video_weight, training_frame_weight, training_patch_weight (`float`, *optional*, default to 0.5, 0.5
        and 0.05):
            Mix of video, weak frame and weak patch scores that the coarse loss trains with `interaction="tib"`.
        rerank_video_weight, rerank_frame_weight, rerank_patch_weight, rerank_tib_frame_weight, rerank_tib_patch_weight
        (`float`, *optional*, default to 0.5, 0.8, 0.2, 0.2 and 0.0):
            Mix of video, weak frame, weak patch, text-gated frame and text-gated patch scores that ranks with
            `interaction="tib"`. The similarity is their mean with these weights, over those that are computed.
        search_calibration (`dict[str, float]`, *optional*):
            How a search makes one number of the parts of a score (ours): coefficients of a logistic map, 0 or more, of
            `text_video`, `text_ocr`, `text_hybrid`, `text_window` (the cosine of a query and the caption nearest to it)
            and `lexical` (the spelling they share), and its `bias`; what is not there counts 0. A search then ranks by
            the probability that a video is what was asked for. `means_from`, the cosine of a query and a text from
            which the text is shown as meaning what was asked for. No loss and no similarity depends on it. By default
            the paper's mean of the parts is averaged with the spelling, and there is no probability.
        projection_dim (`int`, *optional*):
            Width of the joint space. Read off the backbone's configuration; set it only where that fails.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the new modules' random weights.
        config_version (`int`, *optional*, defaults to 2):
            Which defaults stand for fields that a saved configuration lacks. `TCDConfig.from_dict` gives one without
            it, of version 1, those of its time: `temporal_input="normalised"`, `temporal_activation="gelu"`,
            `temporal_layer_norm_eps=1e-5`, `calibration_temperature=0.1`.

    Raises:
        ValueError: a number out of its range, a width that the heads do not divide, or no score to rank by.

    Example:

    ```python
    >>> from tcd_hf import TCDConfig, TCDModel

    >>> model = TCDModel(TCDConfig(num_frames=8))  # random weights on a CLIP ViT-B/32 shape
    ```"""

    model_type = "tcd"
    _auto_class = "AutoConfig"  # saving copies this file beside the weights, for use without the package
    if SubConfigSpec is not None:
        sub_configs_defaults = {"backbone_config": SubConfigSpec(AutoConfig, model_type="clip")}
    else:
        sub_configs: ClassVar[Any] = {"backbone_config": AutoConfig}
        has_no_defaults_at_init = True  # older releases compare with default sub-configs, which some backbones lack

    if TYPE_CHECKING:  # what these are once they are resolved, see below
        backbone_config: Any = None
        projection_dim: Any = None
    else:
        backbone_config: dict | PreTrainedConfig | None = None
        projection_dim: int | None = None
    interaction: Literal["tcd", "tib"] = "tcd"
    num_frames: int = 12
    use_ocr: bool = True
    share_ocr_encoder: bool = True
    text_condition: Literal["after", "before"] = "after"
    text_condition_temperature: float | int = 5.0
    use_co_attention: bool = True
    use_distillation: bool = True
    use_cross_attention: bool = True
    fusion_num_heads: int = 1
    fusion_dropout: float | int = 0.3
    use_calibration: bool = True
    calibration_weight: float | int = 0.1
    calibration_temperature: float | int | None = None
    temporal_num_layers: int = 4
    temporal_input: Literal["raw", "normalised"] = "raw"
    temporal_activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    temporal_layer_norm_eps: float | int = 1e-12
    temporal_start: Literal["neutral", "text_layers"] = "neutral"
    use_patch_features: bool = False
    coarse_loss_weight: float | int | None = None
    tib_loss_weight: float | int = 0.2
    pearson_weight: float | int = 0.001
    pearson_diagonal_weight: float | int = 0.14
    pearson_off_diagonal_weight: float | int = 0.0
    pearson_video_weight: float | int = 1.0
    pearson_tib_frame_weight: float | int = 1.0
    pearson_tib_patch_weight: float | int = 0.0
    weak_temperature: float | int = 0.01
    tib_frame_temperature: float | int = 0.1
    tib_patch_temperature: float | int = 0.01
    training_video_weight: float | int = 0.5
    training_frame_weight: float | int = 0.5
    training_patch_weight: float | int = 0.05
    rerank_video_weight: float | int = 0.5
    rerank_frame_weight: float | int = 0.8
    rerank_patch_weight: float | int = 0.2
    rerank_tib_frame_weight: float | int = 0.2
    rerank_tib_patch_weight: float | int = 0.0
    search_calibration: dict[str, float | int] | None = None
    initializer_range: float | int = 0.02
    config_version: int = CONFIG_VERSION

    def __post_init__(self, **kwargs):
        # `backbone_config` is resolved here: the base class takes that key for an image backbone of object detectors.
        if self.backbone_config is None:
            self.backbone_config = AutoConfig.for_model("clip")
        elif isinstance(self.backbone_config, dict):
            settings = {"model_type": "clip", **self.backbone_config}
            # ours is built by name: the Auto classes do not know it where this file runs without the package
            is_own = settings["model_type"] == TwoTowerConfig.model_type
            self.backbone_config = TwoTowerConfig(**settings) if is_own else AutoConfig.for_model(**settings)
        if self.projection_dim is None:
            self.projection_dim = joint_width(self.backbone_config)
        if self.coarse_loss_weight is None:
            self.coarse_loss_weight = 0.8 if self.interaction == "tib" else 0.2
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any):
        """As `PreTrainedConfig.from_dict`; a field that a saved configuration lacks means what it meant at its time."""
        before = DEFAULTS_BEFORE.get(config_dict.get("config_version", 1), {})
        return super().from_dict({**before, **config_dict, "config_version": CONFIG_VERSION}, **kwargs)

    @property
    def reads_raw_frames(self) -> bool:
        """Whether the model reads the frames' norms: with a temporal encoder and `temporal_input="raw"`."""
        return self.temporal_num_layers > 0 and self.temporal_input == "raw"

    @property
    def text_config(self) -> PreTrainedConfig:
        """That of the backbone's text tower, where transformers looks for the size of the vocabulary."""
        return self.backbone_config.text_config

    @property
    def reads_ocr(self) -> bool:
        """Whether the model embeds OCR captions: with `use_ocr=True`, and never with `interaction="tib"`."""
        return self.use_ocr and self.interaction == "tcd"

    def validate_ranges(self) -> None:
        """Part of the `@strict` validation: numbers that no model could be built or trained with."""
        for name in ("num_frames", "fusion_num_heads", "projection_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {getattr(self, name)}.")
        fields = self.__dataclass_fields__
        for name in (each for each in fields if each.endswith("_temperature")):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, got {getattr(self, name)}.")
        weights = [each for each in fields if each.endswith("_weight")]
        for name in (*weights, "initializer_range", "temporal_num_layers", "temporal_layer_norm_eps"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must be 0 or more, got {getattr(self, name)}.")
        if not self.rerank_video_weight + self.rerank_frame_weight + self.rerank_tib_frame_weight > 0:
            raise ValueError(
                "One of `rerank_video_weight`, `rerank_frame_weight` and `rerank_tib_frame_weight` must be above 0: "
                "there is no score to rank by."
            )
        if not 0 <= self.fusion_dropout < 1:
            raise ValueError(f"`fusion_dropout` must be in [0, 1), got {self.fusion_dropout}.")
        if self.projection_dim % self.fusion_num_heads:
            raise ValueError(
                f"The joint width `projection_dim` ({self.projection_dim}) must be a multiple of `fusion_num_heads` "
                f"({self.fusion_num_heads})."
            )

    def validate_search_calibration(self) -> None:
        """Part of the `@strict` validation: numbers that make a score of parts, and no others."""
        if self.search_calibration is None:
            return
        given = self.search_calibration
        known = ("bias", *CALIBRATED_PARTS, "means_from")
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"`search_calibration` has {unknown[0]!r}, which is none of {', '.join(known)}.")
        if missing := [name for name in ("bias", "lexical") if name not in given]:
            raise ValueError(f"`search_calibration` must have {missing[0]!r}, got {', '.join(given) or 'nothing'}.")
        for name, value in given.items():
            if not math.isfinite(value) or (name in CALIBRATED_PARTS and value < 0):
                least = ", 0 or more" if name in CALIBRATED_PARTS else ""
                raise ValueError(f"`search_calibration[{name!r}]` must be a finite number{least}, got {value}.")


def joint_width(backbone_config: Any) -> int:
    """Width of the space in which a dual encoder's texts and images meet."""
    text_config = getattr(backbone_config, "text_config", None)
    for holder, name in (
        (backbone_config, "projection_dim"),  # CLIP and its family
        (text_config, "projection_size"),  # SigLIP, SigLIP 2
        (text_config, "hidden_size"),
    ):
        width = getattr(holder, name, None)
        if width is not None:
            return width
    raise ValueError(
        f"`backbone_config` ({type(backbone_config).__name__}) does not tell the width of its joint space: it is no "
        "dual encoder, or `projection_dim` must be given."
    )
