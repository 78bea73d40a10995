"""Where the weights of a model come from: initialisation, a pretrained backbone, a checkpoint."""

import os
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from typing_extensions import Self

from .co_attention import VideoOCRCoAttention
from .configuration_tcd import TCDConfig
from .distillation import ClueDistilling
from .joined_towers import join_towers
from .temporal_encoder import TemporalEncoder, copy_text_layers

__all__ = ["LOGIT_SCALE_INIT", "TCDPreTrainedModel", "check_overrides"]

LOGIT_SCALE_INIT = 2.6592  # CLIP's: a temperature of 0.07
PER_FRAME = ("position_embedding", "video_type_embedding", "ocr_type_embedding")  # a row for each place in time


class TCDPreTrainedModel(PreTrainedModel):
    """Weights initialisation, and saving and loading, of TCD models."""

    config: TCDConfig
    base_model_prefix = "model"
    input_modalities = ["video", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    # Not the hybrid clue, which FSDP would shard by itself: factorised scoring reads its weights outside of its calls.
    _no_split_modules = ["VideoOCRCoAttention", "TemporalEncoderLayer"]  # noqa: RUF012
    # Projections that are the identity until they are trained: a checkpoint without them is as good with them.
    _keys_to_ignore_on_load_missing = [r"^coarse_projection\.", r"^frame_projection\."]  # noqa: RUF012

    if TYPE_CHECKING:  # a type checker takes transformers' own for a function that is given no model

        def to(self, *args: Any, **kwargs: Any) -> Self: ...

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        std = self.config.initializer_range
        if getattr(module, "own_logit_scale", None) is not None:
            init.constant_(module.own_logit_scale, LOGIT_SCALE_INIT)
        elif isinstance(module, VideoOCRCoAttention):
            init.normal_(module.position_embedding, std=std)
        elif isinstance(module, TemporalEncoder):
            init.zeros_(module.position_embedding)
        elif isinstance(module, ClueDistilling):
            init.normal_(module.video_clue, std=std)
            init.normal_(module.ocr_clue, std=std)
            init.zeros_(module.clue_type_embedding)
            init.zeros_(module.video_type_embedding)
            init.zeros_(module.ocr_type_embedding)
        elif hasattr(module, "neutral_start"):
            {"zeros": init.zeros_, "eye": init.eye_}[module.neutral_start](module.weight)

    @classmethod
    def from_backbone(
        cls,
        backbone: str | os.PathLike | PreTrainedModel | None = None,
        backbone_kwargs: dict[str, Any] | None = None,
        *,
        text: str | os.PathLike | PreTrainedModel | None = None,
        image: str | os.PathLike | PreTrainedModel | None = None,
        text_pooling: str | None = None,
        **config_overrides: Any,
    ) -> Self:
        """
        A model on pretrained towers, its new modules neutral: a sane zero-shot model, and where training starts. Its
        similarity is the mean of the cosines of the text with the gated frames, the gated windows, and both; with
        `interaction="tib"`, the mix of [`TCDModel`] with frames as the backbone gives them. With
        `temporal_start="text_layers"` the temporal encoder is not neutral.

        In place of one dual encoder, `text` and `image` name two encoders that were trained apart: any sentence encoder
        (BERT, MPNet, XLM-R, ModernBERT, ...) and any image encoder (ViT, SigLIP's, ConvNeXt, DINOv2, ...). The joint
        space is the sentence encoder's: its embeddings stay its own, captions and queries are compared as it compares
        sentences. Frames are projected into it by the identity, or where they are of another width by random weights:
        the text-video part means nothing until it is trained.

        Args:
            backbone (`str`, `os.PathLike` or `PreTrainedModel`, *optional*):
                Name or folder of a pretrained dual encoder, loaded by `AutoModel.from_pretrained`; or a loaded one,
                whose weights are copied.
            backbone_kwargs (`dict`, *optional*):
                Passed to `AutoModel.from_pretrained` (`dtype`, `revision`, `local_files_only`, ...).
            text (`str`, `os.PathLike` or `PreTrainedModel`, *optional*):
                Name or folder of an encoder of texts, of sentence-transformers or not; or a loaded one.
            image (`str`, `os.PathLike` or `PreTrainedModel`, *optional*):
                Name or folder of an encoder of images, or a loaded one; of a dual encoder its image tower is taken.
            text_pooling (`"mean"`, `"cls"`, `"last"` or `"pooler"`, *optional*):
                How `text` makes one vector of its tokens, see [`TwoTowerConfig`]. By default as its
                sentence-transformers folder says (`modules.json`), and the mean where there is none.
            config_overrides:
                Fields of [`TCDConfig`]. With `text` and `image`, `projection_dim` is the width of the joint space, in
                place of that of `text`, which is then projected into it by random weights.

        Returns:
            [`TCDModel`] in evaluation mode, in the dtype of the backbone, or of `text`.

        Raises:
            ValueError: an override that is no field of [`TCDConfig`], a text tower whose layers cannot be copied, or
                a sentence encoder that does more than to pool.
            TypeError: neither a backbone nor both `text` and `image`, or `backbone_kwargs` beside a backbone that is
                loaded already.

        Example:

        ```python
        >>> model = TCDModel.from_backbone(text="intfloat/e5-small-v2", image="facebook/dinov2-small")
        >>> processor = TCDProcessor.from_backbone(text="intfloat/e5-small-v2", image="facebook/dinov2-small")
        ```"""
        check_overrides(config_overrides)
        check_towers(backbone, text, image, text_pooling)
        if text is not None and image is not None:
            if backbone_kwargs and isinstance(text, PreTrainedModel) and isinstance(image, PreTrainedModel):
                raise TypeError("`backbone_kwargs` say how to load towers, but loaded models were given.")
            projection_dim = config_overrides.get("projection_dim")
            tower: Any = join_towers(text, image, text_pooling, projection_dim, backbone_kwargs)
        elif not isinstance(backbone, PreTrainedModel):
            options = {"trust_remote_code": False, **(backbone_kwargs or {})}
            place: Any = backbone
            tower = transformers.AutoModel.from_pretrained(place, **options)  # nosec B615 # the revision is among the options
        elif backbone_kwargs:
            raise TypeError("`backbone_kwargs` say how to load a backbone, but a loaded model was given.")
        else:
            tower = backbone

        config = TCDConfig(backbone_config=tower.config.to_dict(), **config_overrides)
        attn_implementation = tower.config._attn_implementation
        if attn_implementation == "sdpa":  # the default of all towers that have it; one without must not be told
            attn_implementation = None
        model: Any = cls._from_config(config, dtype=tower.dtype, attn_implementation=attn_implementation)
        weights = tower.state_dict()
        model.backbone.load_state_dict(weights)
        if model.ocr_encoder is not model.backbone:
            model.ocr_encoder.load_state_dict({name: weights[name] for name in model.ocr_encoder.state_dict()})
        if model.temporal_encoder is not None and config.temporal_start == "text_layers":
            copy_text_layers(model.temporal_encoder, model.backbone)
        return model.eval()

    @torch.no_grad()
    def resize_frames(self, num_frames: int) -> Self:
        """
        Has a model take another number of frames and windows, in place: 64 for long videos, for example, of a model
        that was trained with 12. What it learned for each place in time is interpolated between the places; EERCF's
        projection of the weights of frames starts as the identity again (ours).

        Args:
            num_frames (`int`): 1 or more. `num_frames` of the processor must be the same.

        Returns:
            The model.

        Raises:
            ValueError: `num_frames` below 1.
        """
        if num_frames < 1:
            raise ValueError(f"`num_frames` must be 1 or more, got {num_frames}.")
        if num_frames == self.config.num_frames:
            return self
        for module in self.modules():
            if isinstance(module, VideoOCRCoAttention | TemporalEncoder | ClueDistilling):
                for name in PER_FRAME:
                    if hasattr(module, name):
                        setattr(module, name, _resampled(getattr(module, name), num_frames))
        projection: Any = getattr(self, "frame_projection", None)
        if projection is not None:
            identity = torch.eye(num_frames, dtype=projection.weight.dtype, device=projection.weight.device)
            projection.weight = nn.Parameter(identity, requires_grad=projection.weight.requires_grad)
            projection.in_features = projection.out_features = num_frames
        self.config.num_frames = num_frames
        return self

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *args: Any,
        output_loading_info: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None,
        *args: Any,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """
        Loads as `PreTrainedModel.from_pretrained` does. A checkpoint of a shared encoder that is loaded with
        `share_ocr_encoder=False` gives both towers its weights. For another `num_frames` call
        [`~TCDModel.resize_frames`] afterwards, as [`tcd_hf.load`] does.
        """
        loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        model, info = loaded
        missing = {name for name in info["missing_keys"] if name.startswith("ocr_backbone.")}
        if missing:
            weights = model.backbone.state_dict()
            own = {name: weights[name] for name in model.ocr_encoder.state_dict() if f"ocr_backbone.{name}" in missing}
            model.ocr_encoder.load_state_dict(own, strict=False)
            info["missing_keys"] = set(info["missing_keys"]) - missing
        return (model, info) if output_loading_info else model


def _resampled(rows: nn.Parameter, count: int) -> nn.Parameter:
    """Rows at the centres of equal parts of time, `(num_frames, dim)`, linearly interpolated at those of others."""
    columns = nn.functional.interpolate(rows.float().T[None], size=count, mode="linear", align_corners=False)
    return nn.Parameter(columns[0].T.contiguous().to(rows.dtype), requires_grad=rows.requires_grad)


def check_towers(backbone: Any, text: Any, image: Any, text_pooling: str | None) -> None:
    """
    Refuses what [`TCDPreTrainedModel.from_backbone`] could not build on.

    Raises:
        TypeError: neither a backbone alone nor both towers, or a pooling without towers.
    """
    given = [name for name, part in (("backbone", backbone), ("text", text), ("image", image)) if part is not None]
    if given not in (["backbone"], ["text", "image"]):
        raise TypeError(f"Give a dual encoder (`backbone`), or both `text` and `image`; got {given or 'none of them'}.")
    if text_pooling is not None and backbone is not None:
        raise TypeError("`text_pooling` is for `text` and `image`; a dual encoder (`backbone`) has its own.")


def check_overrides(overrides: dict) -> None:
    """
    Refuses what transformers would keep as attributes that mean nothing.

    Raises:
        ValueError: names that are no fields of [`TCDConfig`] besides `backbone_config`.
    """
    known = set(TCDConfig.__dataclass_fields__) - {"backbone_config"}
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise ValueError(f"{unknown} are no fields of TCDConfig that could be set here; fields are {sorted(known)}.")
