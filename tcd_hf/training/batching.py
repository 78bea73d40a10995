"""Which pairs meet in which batch, and how they become a model's inputs."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from tcd_hf.data.prepared_data import frame_columns
from tcd_hf.training.recipe import TrainingRecipe

if TYPE_CHECKING:
    from tcd_hf.processing.processing_tcd import TCDProcessor

__all__ = ["BatchPlan", "PairCollator", "Pairs", "chunk_loader"]

Key = tuple[int, int]  # row of a video, and which of its captions
Shown = tuple[int, int, int]  # the same, and which of its sets of frames
ORDER, CAPTIONS, FRAMES = range(3)  # what an epoch draws, and a step


class BatchPlan:
    """
    The batches of every epoch. An epoch is a permutation of the videos, with one caption of each, or of all captions
    with their videos; drawn by seed and epoch alone, and cut into batches. What is left at its end waits for another
    epoch, because a smaller batch would have fewer negatives.

    Args:
        dataset (`datasets.Dataset`): prepared; `captions` and, where videos are to be grouped, `group` are read.
        batch_size (`int`): pairs of a step, over all processes.
        seed (`int`, *optional*, defaults to 0)
        group_by_negatives (`bool`, *optional*, defaults to `False`): keep videos of equal `group` in one batch. Only
            where no whole group fits any more is one cut.
        epoch_of (`"videos"` or `"captions"`, *optional*, defaults to `"videos"`): what is seen once in an epoch. Of
            captions, a batch may hold two of one video, negatives of each other, as in the published code of CLIP4Clip
            and what came after it.

    Raises:
        ValueError: fewer videos than a batch holds, a video without a caption or with one that says nothing, no groups
            to keep together, or groups of captions.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int = 0,
        group_by_negatives: bool = False,
        epoch_of: Literal["videos", "captions"] = "videos",
    ):
        captions = list(dataset["captions"])
        self.num_captions = np.array([len(of_video) for of_video in captions])
        self.batch_size, self.seed, self.epoch_of = batch_size, seed, epoch_of
        if group_by_negatives and epoch_of == "captions":
            raise ValueError(
                '`group_by_negatives` keeps videos in one batch, each once: it goes with `epoch_of="videos"` only.'
            )
        if len(dataset) < batch_size:
            raise ValueError(
                f"The split to train on has {len(dataset)} videos, too few for a batch of {batch_size}. Give a smaller "
                "--batch_size."
            )
        blank = [row for row, of_video in enumerate(captions) if not (of_video and all(map(str.strip, of_video)))]
        if blank:
            raise ValueError(
                f"{len(blank)} of {len(dataset)} videos to train on have no caption, or one that says nothing, the "
                f"first in row {blank[0]}: {captions[blank[0]]!r}. Mend their captions and prepare them again."
            )
        self.groups = _rows_by_group(dataset) if group_by_negatives else [[row] for row in range(len(dataset))]

    @property
    def steps_per_epoch(self) -> int:
        pairs = len(self.num_captions) if self.epoch_of == "videos" else int(self.num_captions.sum())
        return pairs // self.batch_size

    def epoch(self, epoch: int) -> list[list[Key]]:
        """The batches of an epoch, counted from 0."""
        # Random numbers are a function of the epoch alone, so that a resumed run, and every process, finds the same.
        if self.epoch_of == "captions":
            return self._epoch_of_captions(np.random.default_rng([self.seed, epoch, ORDER]))
        order = np.random.default_rng([self.seed, epoch, ORDER]).permutation(len(self.groups))
        draws = np.random.default_rng([self.seed, epoch, CAPTIONS]).random(len(self.num_captions))
        captions = (draws * self.num_captions).astype(int)
        waiting = deque(self.groups[group] for group in order)
        batches = (_take(waiting, self.batch_size) for _ in range(self.steps_per_epoch))
        return [[(row, int(captions[row])) for row in batch] for batch in batches]

    def _epoch_of_captions(self, rng: np.random.Generator) -> list[list[Key]]:
        ends = np.cumsum(self.num_captions)
        rows = np.repeat(np.arange(len(ends)), self.num_captions)
        captions = np.arange(ends[-1]) - np.repeat(ends - self.num_captions, self.num_captions)
        order = rng.permutation(len(rows))[: self.steps_per_epoch * self.batch_size]
        keys = list(zip(rows[order].tolist(), captions[order].tolist(), strict=True))
        return [keys[start : start + self.batch_size] for start in range(0, len(keys), self.batch_size)]

    def steps(self, first: int, last: int) -> Iterator[list[Key]]:
        """The batches of steps `first` to `last - 1`, counted from 0 over all epochs."""
        for epoch in range(first // self.steps_per_epoch, -(-last // self.steps_per_epoch)):
            start = epoch * self.steps_per_epoch
            yield from self.epoch(epoch)[max(first - start, 0) : last - start]


def _rows_by_group(dataset: Dataset) -> list[list[int]]:
    if "group" not in dataset.column_names:
        raise ValueError(
            f"`group_by_negatives` needs a column `group`, but the data set has {dataset.column_names}. Leave it off, "
            "or prepare a data set whose hard negatives are known."
        )
    groups: dict = {}
    for row, name in enumerate(dataset["group"]):
        groups.setdefault(("alone", row) if name is None else name, []).append(row)
    return list(groups.values())


def _take(waiting: deque, size: int) -> list[int]:
    """Takes the next groups that fit whole off `waiting`; a last one is cut if none does."""
    batch, too_large = [], []
    while waiting and len(batch) < size:
        group = waiting.popleft()
        if len(batch) + len(group) <= size:
            batch += group
        else:
            too_large.append(group)
    waiting.extendleft(reversed(too_large))
    if len(batch) < size:
        group = waiting.popleft()
        missing = size - len(batch)
        batch += group[:missing]
        waiting.appendleft(group[missing:])
    return batch


class Pairs(torch.utils.data.Dataset):
    """Rows of a prepared data set, by row, caption and set of frames: each with its `caption`, frames decoded.

    Attributes:
        frame_sets (`dict[str, datasets.Dataset]`): by the column of the frames, the rows with them alone; first those
            at the centres of the windows, then those of [`random_frame_sets`].
    """

    def __init__(self, dataset: Dataset):
        # Apart, as a row is decoded with all of its columns.
        self.frame_sets = {
            name: dataset.select_columns(["captions", name, "ocr_captions"])
            for name in frame_columns(dataset.column_names)
        }

    def __len__(self) -> int:
        return len(self.frame_sets["frames"])

    def __getitem__(self, key: Shown) -> dict:
        row, caption, frame_set = key
        name = list(self.frame_sets)[frame_set]
        pair = self.frame_sets[name][row]
        return {**pair, "frames": pair[name], "caption": pair["captions"][caption]}


class PairCollator:
    """
    Rows as the inputs of [`TCDModel`], with `return_loss=True`: for [`chunk_loader`], and for `transformers.Trainer`.

    Args:
        processor ([`TCDProcessor`]): of the model.
    """

    def __init__(self, processor: "TCDProcessor"):
        self.processor = processor

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor | bool]:
        """Makes a batch of prepared rows.

        Args:
            rows (`list` of mappings): with `caption`, a text that describes the video; `frames`, PIL images, and
                `ocr_captions`, of prepared data.
        """
        texts = self.processor(text=[row["caption"] for row in rows])
        videos = self.processor.process_frame_batch(
            [row["frames"] for row in rows], [row["ocr_captions"] for row in rows]
        )
        return {**texts, **videos, "return_loss": True}


class _ChunkKeys:
    """Keys of the chunks of one process, step after step: what a loader is to load together."""

    def __init__(self, plan: BatchPlan, num_sets: int, first: int, last: int, share: slice, chunk_size: int):
        self.plan, self.num_sets, self.first, self.last = plan, num_sets, first, last
        self.share, self.chunk_size = share, chunk_size

    def __iter__(self) -> Iterator[list[Shown]]:
        for step, batch in enumerate(self.plan.steps(self.first, self.last), start=self.first):
            drawn = np.random.default_rng([self.plan.seed, step, FRAMES]).integers(self.num_sets, size=len(batch))
            own = [(*key, frame_set) for key, frame_set in zip(batch, drawn.tolist(), strict=True)][self.share]
            for start in range(0, len(own), self.chunk_size):
                yield own[start : start + self.chunk_size]


def chunk_loader(
    dataset: Dataset,
    processor: "TCDProcessor",
    plan: BatchPlan,
    recipe: TrainingRecipe,
    steps: tuple[int, int],
    share: slice,
) -> Iterator[list[dict]]:
    """
    What one process trains on: for each step, the chunks of its share of the batch, as inputs of the model. Where
    videos were prepared with several sets of frames, one is drawn for each pair, by seed and step alone.

    Args:
        dataset (`datasets.Dataset`): prepared.
        processor ([`TCDProcessor`]): of the model.
        plan ([`BatchPlan`]): of the data set.
        recipe ([`TrainingRecipe`]): gives `chunk_size` and `num_workers`.
        steps (`tuple[int, int]`): first step, and the one after the last.
        share (`slice`): of every batch.
    """
    size = share.stop - share.start
    chunk_size = min(recipe.chunk_size or size, size)
    pairs = Pairs(dataset)
    keys = _ChunkKeys(plan, len(pairs.frame_sets), *steps, share, chunk_size)
    loader = iter(
        DataLoader(
            pairs,
            batch_sampler=keys,
            collate_fn=PairCollator(processor),
            num_workers=recipe.num_workers,
            pin_memory=torch.cuda.is_available(),
        )
    )
    for _ in range(*steps):
        yield [next(loader) for _ in range(-(-size // chunk_size))]
