"""Embeddings of a prepared data set: of its captions and of its videos, in chunks."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from tqdm import tqdm

from tcd_hf.modeling.outputs import TCDVideoFeatures

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["embed_dataset", "embed_texts"]


@torch.inference_mode()
def embed_dataset(
    model: "TCDModel",
    processor: "TCDProcessor",
    dataset: Dataset,
    batch_size: int = 32,
    progress: bool = True,
    accelerator: Accelerator | None = None,
) -> tuple[torch.Tensor, np.ndarray, TCDVideoFeatures]:
    """Embeds every caption and every video of a prepared data set, on the device of the model.

    Of several processes each embeds its share, and all get the whole, in the same order as one process alone.

    Videos are decoded and embedded `batch_size` at a time, and only what they are scored by is kept: with 12 frames and
    512 dimensions in float32 about 100 kB a video, and with `use_patch_features` as much again for every 4 patches of
    a frame: 1.2 MB for the 49 of ViT-B/32.

    Args:
        model ([`TCDModel`]): in evaluation mode.
        processor ([`TCDProcessor`]): of the model.
        dataset (`datasets.Dataset`): prepared; of its columns `captions`, `frames` and `ocr_captions` are read. A video
            without captions is a distractor: embedded, and asked for by no text.
        batch_size (`int`, *optional*, defaults to 32): videos, and captions, that go through the towers at once.
        progress (`bool`, *optional*, defaults to `True`): show bars on stderr.
        accelerator (`Accelerator`, *optional*): of several processes, each of which calls this.

    Returns:
        `tuple`:

        - `text_embeds`, `torch.FloatTensor` of shape `(num_texts, dim)`: L2-normalised, row by row, in the order of
          their videos.
        - `text_to_video`, `np.ndarray` of shape `(num_texts,)`, int64: the row of the video that each text describes.
        - `video_features`, [`TCDVideoFeatures`] of all videos, without the towers' outputs.

    Raises:
        ValueError: a model in training mode, `batch_size` below 1, no caption or no video at all, or fewer videos or
            different captions than processes.
    """
    if model.training:
        raise ValueError("The model is in training mode, where embeddings are random: call `model.eval()` first.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    captions = dataset["captions"]
    texts = [caption for of_video in captions for caption in of_video]
    if not texts:
        raise ValueError(f"There is nothing to retrieve: {len(dataset)} videos, none of which has a caption.")

    # Captions that several videos share are embedded once: equal texts must tie.
    different = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    text_to_video = np.repeat(np.arange(len(captions)), [len(of_video) for of_video in captions])
    process, count = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    if min(len(different), len(dataset)) < count:
        raise ValueError(
            f"{len(dataset)} videos and {len(different)} different captions are too few to be shared by {count} "
            "processes. Use fewer processes."
        )
    own_texts = [list(different)[row] for row in np.array_split(np.arange(len(different)), count)[process]]
    own_videos = dataset.shard(count, process, contiguous=True) if count > 1 else dataset
    text_embeds = embed_texts(model, processor, own_texts, batch_size, progress)
    features = _embed_videos(model, processor, own_videos, batch_size, progress)
    if accelerator:
        text_embeds = _gather_rows(text_embeds, accelerator)
        gathered: dict[str, Any] = {name: _gather_rows(rows, accelerator) for name, rows in features.items()}
        features = TCDVideoFeatures(**gathered)
    return text_embeds[[different[text] for text in texts]], text_to_video, features


@torch.inference_mode()
def embed_texts(
    model: "TCDModel", processor: "TCDProcessor", texts: list[str], batch_size: int, progress: bool
) -> torch.Tensor:
    """Embeds texts, `batch_size` at a time: `(num_texts, dim)`, L2-normalised, on the device of the model."""
    batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
    return torch.cat(
        [
            model.get_text_features(**processor(text=batch).to(model.device)).pooler_output
            for batch in tqdm(batches, "texts", disable=not progress)
        ]
    )


def _embed_videos(
    model: "TCDModel", processor: "TCDProcessor", dataset: Dataset, batch_size: int, progress: bool
) -> TCDVideoFeatures:
    batches: Any = dataset.select_columns(["frames", "ocr_captions"]).iter(batch_size)
    pieces = []
    for batch in tqdm(batches, "videos", -(-len(dataset) // batch_size), disable=not progress):
        inputs = processor.process_frame_batch(batch["frames"], batch["ocr_captions"])
        features = model.get_video_features(**inputs.to(model.device, model.dtype))
        pieces.append(features.map_videos(lambda rows: rows))  # tensors alone: the towers' outputs are large
    whole: dict[str, Any] = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
    return TCDVideoFeatures(**whole)


def _gather_rows(rows: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """Rows of all processes, of which each may have another number, in order of the processes."""
    if accelerator.num_processes == 1:
        return rows
    counts: Any = accelerator.gather(torch.tensor([len(rows)], device=accelerator.device))
    kind = rows.dtype
    rows = rows.to(torch.uint8) if kind == torch.bool else rows  # not every backend takes masks
    gathered: Any = accelerator.gather(accelerator.pad_across_processes(rows.contiguous(), dim=0))
    counts = counts.tolist()
    pieces = gathered.split(max(counts))
    return torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)]).to(kind)
