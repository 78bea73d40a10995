"""
Checkpoints of the published code of EERCF, CLIP4Clip and X-CLIP, as models of this package.

All three hold CLIP in OpenAI's layout below `clip.`, and a transformer over frames below `transformerClip.`. Names and
shapes are those of their public repositories (adxcreative/EERCF, ArrowLuo/CLIP4Clip, xuguohai/X-CLIP).
"""

import os
import pickle  # nosec B403 # for the name of an error: torch reads weights alone
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import torch
from transformers import CLIPConfig

from tcd_hf.choices import CheckpointFormat
from tcd_hf.loading import load_processor
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["convert_state_dict", "import_checkpoint"]

HEAD_DIM = 64  # of all of OpenAI's transformers with patches
MEAN_OF_FRAMES = {  # CLIP4Clip scores by the mean of frames alone, and trains nothing else
    **{"rerank_video_weight": 1.0, "rerank_frame_weight": 0.0, "rerank_tib_frame_weight": 0.0},
    **{"training_video_weight": 1.0, "training_frame_weight": 0.0, "training_patch_weight": 0.0},
    **{"coarse_loss_weight": 1.0, "tib_loss_weight": 0.0, "pearson_weight": 0.0},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "eercf": {"use_patch_features": True},
    "clip4clip": MEAN_OF_FRAMES,
    "xclip": {},
}
# Matrices of X-CLIP's own score, which this package does not have.
OF_XCLIP = re.compile(r"(global|word|frame|local)_(mat|logit)_weight2?")

TOWER_NAMES = {
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    **{f"visual.ln_pre.{kind}": f"vision_model.pre_layrnorm.{kind}" for kind in ("weight", "bias")},
    **{f"visual.ln_post.{kind}": f"vision_model.post_layernorm.{kind}" for kind in ("weight", "bias")},
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",  # nosec B105 # of words
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    **{f"ln_final.{kind}": f"text_model.final_layer_norm.{kind}" for kind in ("weight", "bias")},
    "logit_scale": "logit_scale",
}
TRANSPOSED = {
    "clip.visual.proj": "backbone.visual_projection.weight",
    "clip.text_projection": "backbone.text_projection.weight",
    "global_mat_weight": "coarse_projection.weight",
    "frame_logit_weight": "frame_projection.weight",
}
LAYERS = {  # where layers are, and what their parts are called there
    "clip.visual.transformer.resblocks": ("backbone.vision_model.encoder.layers", "clip"),
    "clip.transformer.resblocks": ("backbone.text_model.encoder.layers", "clip"),
    "transformerClip.resblocks": ("temporal_encoder.layers", "temporal"),
}
PARTS = {  # the attention, and the rest
    "clip": (
        "self_attn",
        {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"},
    ),
    "temporal": (
        "attention",
        {"ln_1": "attention_norm", "ln_2": "mlp_norm", "mlp.c_fc": "mlp_in", "mlp.c_proj": "mlp_out"},
    ),
}


def import_checkpoint(
    checkpoint: str | os.PathLike,
    format: CheckpointFormat,
    processor: str | os.PathLike,
    out: str | os.PathLike | None = None,
    num_frames: int | None = None,
    max_length: int | None = 32,
    allow_unmapped: bool = False,
) -> tuple[TCDModel, TCDProcessor]:
    """
    A model of this package from a checkpoint of another's, and its processor.

    - `"eercf"`: all of it; scores and two-stage ranks are those of the published code.
    - `"clip4clip"`, of its headers meanP and seqTransf: all of it; the similarity is its cosine.
    - `"xclip"`: CLIP's towers and the temporal encoder. X-CLIP's own score, of words and frames, is *not* reproduced:
      the model scores as EERCF does before it is trained.

    Args:
        checkpoint (`str | os.PathLike`): a state dict that `torch.save` wrote, such as `pytorch_model.bin`. It is read
            as weights alone.
        format (`"eercf"`, `"clip4clip"` or `"xclip"`): whose code wrote it.
        processor (`str | os.PathLike`): folder or Hub name with the image processor and tokenizer of the CLIP that it
            was trained from, such as `"openai/clip-vit-base-patch32"`.
        out (`str | os.PathLike`, *optional*): folder to save both to.
        num_frames (`int`, *optional*): frames of a video; those of the checkpoint where it tells, else 12.
        max_length (`int`, *optional*, defaults to 32): tokens of a query at most, as in the published scripts; `None`
            for as many as the text tower takes.
        allow_unmapped (`bool`, *optional*, defaults to `False`): warn of weights that are left over or missing, in
            place of refusing them. What is missing starts neutral, or at random in the towers.

    Returns:
        `tuple[TCDModel, TCDProcessor]`, the model in evaluation mode, in float32.

    Raises:
        ValueError: no such format, no state dict, no CLIP in OpenAI's layout, another number of frames than the
            checkpoint's, or weights left over or missing.
    """
    model = convert_state_dict(_read(checkpoint), format, num_frames, allow_unmapped)
    made = load_processor(processor, num_frames=model.config.num_frames, max_length=max_length)
    if out is not None:
        model.save_pretrained(out)
        made.save_pretrained(out)
    return model, made


def convert_state_dict(
    state: dict[str, torch.Tensor],
    format: CheckpointFormat,
    num_frames: int | None = None,
    allow_unmapped: bool = False,
) -> TCDModel:
    """
    The model of [`import_checkpoint`] from a state dict.

    Args:
        state (`dict[str, torch.Tensor]`): of the published code.
        format, num_frames, allow_unmapped: see there.

    Raises:
        ValueError: see there.
    """
    if format not in get_args(CheckpointFormat):
        raise ValueError(f"format must be one of {', '.join(map(repr, get_args(CheckpointFormat)))}, got {format!r}.")
    frame_weights = state.get("frame_logit_weight")
    own = len(frame_weights) if frame_weights is not None else None
    if None not in (num_frames, own) and num_frames != own:
        raise ValueError(f"The checkpoint is of {own} frames a video (`frame_logit_weight`), not {num_frames}.")
    config = TCDConfig(
        backbone_config=_clip_config(state),
        interaction="tib",
        num_frames=num_frames or own or 12,
        temporal_num_layers=_count_layers(state, "transformerClip.resblocks."),
        **SETTINGS[format],
    )
    model, weights, left = TCDModel(config), {}, []
    for name, tensor in state.items():
        if format == "xclip" and OF_XCLIP.fullmatch(name):
            continue
        converted = dict(_convert(name, tensor.float(), config.num_frames))
        weights |= converted
        left += [] if converted else [name]
    try:
        missing, unknown = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # fewer positions than frames, for example
        raise ValueError(f"The checkpoint has weights of other shapes than a model of {format}: {error}") from error
    # A projection that the format does not have stays the identity, which changes no score.
    neutral = {"coarse_projection.weight", "frame_projection.weight"} if format != "eercf" else set()
    _check_names(format, [*left, *unknown], sorted(set(missing) - neutral), allow_unmapped)
    if format == "xclip":
        warnings.warn("X-CLIP's own score is not reproduced: these are its towers and temporal encoder.", stacklevel=2)
    return model.eval()


def _convert(name: str, tensor: torch.Tensor, num_frames: int) -> Iterator[tuple[str, torch.Tensor]]:
    """A weight under our names; nothing for one that is unknown."""
    if name in TRANSPOSED:
        yield TRANSPOSED[name], tensor.T
    elif name == "frame_position_embeddings.weight":
        yield "temporal_encoder.position_embedding", tensor[:num_frames]
    elif name.startswith("clip.") and name.removeprefix("clip.") in TOWER_NAMES:
        yield f"backbone.{TOWER_NAMES[name.removeprefix('clip.')]}", tensor
    elif match := re.fullmatch(r"(.*\.resblocks|transformerClip\.resblocks)\.(\d+)\.(.+)", name):
        place, number, part = match.groups()
        if place in LAYERS:
            layers, kind = LAYERS[place]
            yield from ((f"{layers}.{number}.{each}", value) for each, value in _convert_part(part, tensor, kind))


def _convert_part(part: str, tensor: torch.Tensor, kind: str) -> Iterator[tuple[str, torch.Tensor]]:
    attention, names = PARTS[kind]
    holder, _, last = part.rpartition(".")
    if part in ("attn.in_proj_weight", "attn.in_proj_bias"):
        for letter, rows in zip("qkv", tensor.chunk(3), strict=True):
            yield f"{attention}.{letter}_proj.{part.removeprefix('attn.in_proj_')}", rows
    elif holder == "attn.out_proj":
        yield f"{attention}.out_proj.{last}", tensor
    elif holder in names:
        yield f"{names[holder]}.{last}", tensor


def _clip_config(state: dict[str, torch.Tensor]) -> CLIPConfig:
    """The shape of the towers, as their weights tell it."""

    def layers(place: str) -> dict[str, int]:
        inner = len(state[f"{place}0.mlp.c_fc.weight"])
        return {"num_hidden_layers": _count_layers(state, place), "intermediate_size": inner}

    try:
        width, _, patch_size, _ = state["clip.visual.conv1.weight"].shape
        num_patches = len(state["clip.visual.positional_embedding"]) - 1
        vocab_size, text_width = state["clip.token_embedding.weight"].shape
        text = {
            **{"hidden_size": text_width, "num_attention_heads": text_width // HEAD_DIM, "vocab_size": vocab_size},
            **layers("clip.transformer.resblocks."),
            "max_position_embeddings": len(state["clip.positional_embedding"]),
            # OpenAI's last two tokens; a text is embedded at its end.
            **{"bos_token_id": vocab_size - 2, "eos_token_id": vocab_size - 1},
        }
        vision = {
            **{"hidden_size": width, "num_attention_heads": width // HEAD_DIM},
            **layers("clip.visual.transformer.resblocks."),
            **{"patch_size": patch_size, "image_size": patch_size * round(num_patches**0.5)},
        }
        dim = state["clip.text_projection"].shape[1]
    except KeyError as error:
        raise ValueError(
            f"The checkpoint has no {error}: it holds no CLIP of patches in OpenAI's layout below `clip.`. Its names "
            f"begin with {sorted({name.partition('.')[0] for name in state})[:8]}."
        ) from None
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=dim)


def _count_layers(state: dict[str, torch.Tensor], place: str) -> int:
    return len({name.removeprefix(place).partition(".")[0] for name in state if name.startswith(place)})


def _check_names(format: str, left: list[str], missing: list[str], allow_unmapped: bool) -> None:
    """Refuses weights that have no place in the model, or places that have no weight; or warns of them."""
    if not left and not missing:
        return
    found = "; ".join(
        f"{words} {len(names)}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for words, names in (("left over are", left), ("missing are", missing))
        if names
    )
    message = f"The checkpoint is not wholly one of {format}: {found}."
    if not allow_unmapped:
        raise ValueError(f"{message} Give its own format, or allow it (allow_unmapped, --allow-unmapped).")
    warnings.warn(message, stacklevel=3)


def _read(checkpoint: str | os.PathLike) -> dict[str, torch.Tensor]:
    path = Path(checkpoint)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"Cannot read {path} as a state dict of tensors: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or not state or not all(map(torch.is_tensor, state.values())):
        raise ValueError(f"{path} holds no state dict, tensors by name, but {type(state).__name__}.")
    return state
