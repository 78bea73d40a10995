"""What the towers make of the synthetic world, computed once and kept on disk, to train what comes after."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file

from scripts.frozen_towers.towers import Towers, texts_by_length
from scripts.frozen_towers.workers import workers
from tcd_hf.data.synthetic import GROUPS, SyntheticClip, make_clip

__all__ = [
    "BLOCK",
    "MAX_TOKENS",
    "SPLITS",
    "USUAL",
    "WORLD",
    "Features",
    "Reading",
    "encode_split",
    "tokens_of",
    "weights_digest",
]

SPLITS = ("train", "validation", "test")
BLOCK = sum(GROUPS.values())  # consecutive clips that hold whole groups of hard negatives
MAX_TOKENS = 200  # of a clip, as in StarVR
WORLD = 0  # seed of the clips


class Reading(NamedTuple):
    """How windows are looked at, see `WindowOCRCaptioner`."""

    window_scale: float
    ocr_fps: float


USUAL = Reading(1.0, 2.0)


@dataclass
class Features:
    """What the towers make of the clips of a split, in order of their numbers.

    Attributes:
        frames (`torch.FloatTensor` of shape `(num_clips, num_frames, vision_dim)`): pooled output of the image tower.
        queries (`torch.FloatTensor` of shape `(num_clips, text_dim)`): pooled output of the text tower.
        texts (`torch.FloatTensor` of shape `(num_texts, text_dim)`): the same of every different text that is read, the
            empty one first.
        captions (`dict[Reading, torch.LongTensor]`): rows of `texts`, `(num_clips, num_frames)`.
        tokens (`torch.LongTensor` of shape `(num_clips, max_tokens)`): rows of `texts`, the different single readings
            of a clip, then zeros.
    """

    frames: torch.Tensor
    queries: torch.Tensor
    texts: torch.Tensor
    captions: dict[Reading, torch.Tensor]
    tokens: torch.Tensor

    @classmethod
    def load(cls, path: Path) -> "Features":
        tensors = load_file(path)
        names = [name for name in tensors if name.startswith("captions ")]
        captions = {Reading(*map(float, name.split()[1:])): tensors.pop(name) for name in names}
        return cls(captions=captions, **tensors)

    def save(self, path: Path) -> None:
        tensors = {**vars(self), **{f"captions {scale} {fps}": rows for (scale, fps), rows in self.captions.items()}}
        del tensors["captions"]
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        save_file(tensors, unfinished)
        unfinished.rename(path)


def weights_digest(model: Path) -> str:
    """A digest of a checkpoint's weights, which tells them from others."""
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()[:16]


def encode_split(
    model: Path, split: str, num_clips: int, path: Path, processes: int, readings: Sequence[Reading]
) -> None:
    """Runs the towers of a checkpoint over clips 0 to `num_clips - 1` of a split; equal texts once.

    Args:
        model: folder of a TCD checkpoint whose towers end in projections, as CLIP's.
        path: of the `Features`.
        processes: see `workers`.
        readings: ways to look at windows.
    """
    with workers(processes, _load_towers, model) as run:
        blocks = [range(start, min(start + BLOCK, num_clips)) for start in range(0, num_clips, BLOCK)]
        frames = torch.cat(list(run(_encode_frames, [(split, block) for block in blocks])))
        num_windows = frames.shape[1]
        clips = [make_clip(WORLD, split, number) for number in range(num_clips)]
        captions = {how: [clip.captions(num_windows, *how) for clip in clips] for how in readings}
        tokens = [tokens_of(clip, num_windows) for clip in clips]
        queries = [clip.query for clip in clips]
        read = sorted({"", *chain(*tokens), *chain(*chain(*captions.values()))}, key=lambda text: (len(text), text))
        encoded = _encode(run, [*read, *queries])
    places = {text: place for place, text in enumerate(read)}
    width = max(map(len, tokens))
    Features(
        frames=frames,
        queries=encoded[len(read) :].clone(),
        texts=encoded[: len(read)].clone(),
        captions={
            how: torch.tensor([[places[text] for text in clip] for clip in of_clips])
            for how, of_clips in captions.items()
        },
        tokens=torch.tensor([[places[text] for text in clip] + [0] * (width - len(clip)) for clip in tokens]),
    ).save(path)


def tokens_of(clip: SyntheticClip, num_windows: int) -> list[str]:
    """The different readings of a clip's texts in its windows, at most `MAX_TOKENS`, in the order they are met."""
    return list(dict.fromkeys(chain(*clip.readings(num_windows))))[:MAX_TOKENS]


# in the workers ------------------------------------------------------------------------------------------------------
_towers: Towers | None = None


def _load_towers(folder: Path) -> None:
    global _towers
    _towers = Towers(folder)


def _encode_frames(job: tuple[str, range]) -> torch.Tensor:
    split, numbers = job
    return _towers.encode_frames(
        make_clip(WORLD, split, number).frames(_towers.num_frames, _towers.image_size) for number in numbers
    )


def _encode_texts(texts: list[str]) -> torch.Tensor:
    return _towers.encode_texts(texts)


def _encode(run, texts: list[str]) -> torch.Tensor:
    chunks, places = texts_by_length(texts)
    return torch.cat(list(run(_encode_texts, chunks)))[places]
