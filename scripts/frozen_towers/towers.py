"""What the towers of a checkpoint make of frames and texts: their pooled outputs, before the projections."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from tcd_hf import TCDModel, load
from tcd_hf.modeling.two_tower import pool_tokens

__all__ = ["TEXTS_PER_CHUNK", "Towers", "embed", "texts_by_length"]

TEXTS_PER_CHUNK = 64


class Towers:
    """The two towers of a TCD checkpoint that end in projections, as CLIP's and those of `from_backbone(text=...)`.

    Args:
        folder: of the checkpoint.

    Raises:
        ValueError: towers without projections of their own.
    """

    def __init__(self, folder: Path):
        self.model, self.processor = load(folder, dtype=torch.float32)
        backbone = self.model.backbone
        if not hasattr(backbone, "visual_projection") or not hasattr(backbone, "text_projection"):
            raise ValueError(
                "Towers that end in two projections are needed, as CLIP and TwoTowerModel have them; the "
                f"backbone of {folder} is of type {self.model.config.backbone_config.model_type!r}."
            )
        self.num_frames = self.model.config.num_frames
        self.image_size = backbone.config.vision_config.image_size

    @torch.inference_mode()
    def encode_frames(self, videos: Iterable[Sequence[np.ndarray]]) -> torch.Tensor:
        """`(num_videos, num_frames, vision_dim)` of videos of as many frames, RGB uint8 of the images' size."""
        pooled = []
        for frames in videos:
            pixels = self.processor.image_processor(list(frames), return_tensors="pt")["pixel_values"]
            pooled.append(self.model.backbone.vision_model(pixel_values=pixels).pooler_output)
        return torch.stack(pooled).clone()

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """`(num_texts, text_dim)`. Texts of like length go through the tower together."""
        chunks, places = texts_by_length(texts)
        return torch.cat([self._encode_at_once(chunk) for chunk in chunks])[places].clone()

    def _encode_at_once(self, texts: list[str]) -> torch.Tensor:
        inputs = self.processor.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        output = self.model.backbone.text_model(**inputs)
        pooling = getattr(self.model.backbone.config, "text_pooling", "pooler")  # CLIP's tower pools by itself
        if pooling == "pooler":
            return output.pooler_output
        return pool_tokens(output.last_hidden_state, inputs["attention_mask"], pooling)


def texts_by_length(texts: Sequence[str]) -> tuple[list[list[str]], torch.Tensor]:
    """Chunks of texts of like length, and the place of each text in their concatenation."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    chunks = [order[start : start + TEXTS_PER_CHUNK] for start in range(0, len(order), TEXTS_PER_CHUNK)]
    return [[texts[place] for place in chunk] for chunk in chunks], torch.tensor(order).argsort()


def embed(model: TCDModel, queries: torch.Tensor, frames: torch.Tensor, texts: torch.Tensor, mask: torch.Tensor):
    """What a model makes of pooled outputs of its towers: query embeddings, and [`TCDVideoFeatures`] of the videos.

    Args:
        queries: `(num_queries, text_dim)`.
        frames: `(num_videos, num_frames, vision_dim)`.
        texts: of what is read, `(num_videos, num_texts, text_dim)`.
        mask: where anything is read, `(num_videos, num_texts)`, bool.
    """
    backbone, normalize = model.backbone, torch.nn.functional.normalize
    projected = backbone.visual_projection(frames)
    norms = {"frame_norms": projected.norm(dim=-1)} if model.config.reads_raw_frames else {}
    return normalize(backbone.text_projection(queries), dim=-1), model.fuse(
        normalize(projected, dim=-1), normalize(backbone.text_projection(texts), dim=-1), mask, **norms
    )
