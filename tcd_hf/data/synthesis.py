"""The synthetic scene-text benchmark in files: videos with a metadata.jsonl for each split, or the prepared data set.

`load_dataset("videofolder", data_dir="world")` reads the folder of videos; `caption` is the query, `kind` its kind,
`negatives` the clips that nearly answer it. The same seed gives the same clips; files differ at most in how the encoder
rounds. Both ways need the extras `[train-mini]` (words) and `[synthetic]` (fonts).
"""

import json
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from .synthetic import make_clip
from .synthetic_queries import SPLITS
from .synthetic_scene import Scene
from .synthetic_videos import make_video

if TYPE_CHECKING:
    from tcd_hf import TCDProcessor

__all__ = ["prepare_synthetic_videos", "write_synthetic_videos"]


def write_synthetic_videos(
    folder: str | os.PathLike,
    splits: Sequence[str] = ("test",),
    clips: int = 1000,
    *,
    clips_per_video: int = 1,
    size: int = 384,
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Writes clips as `folder/SPLIT/NUMBER.mp4`, and `folder/SPLIT/metadata.jsonl`, which describes them.

    Args:
        folder (`str | os.PathLike`): made if need be.
        splits (`Sequence[str]`, *optional*, defaults to `("test",)`): of `"train"`, `"validation"` and `"test"`.
        clips (`int`, *optional*, defaults to 1000): of each split; 20 are one group of each kind of query.
        clips_per_video (`int`, *optional*, defaults to 1): joins so many to one video, which has the captions of all of
            them, and `moments` says when each is shown, in seconds.
        size (`int`, *optional*, defaults to 384): side of the frames, an even number of pixels.
        seed (`int`, *optional*, defaults to 0): of the world.
        workers (`int`, *optional*, defaults to 1): processes that make clips.

    Raises:
        ValueError: a number out of its range, or an unknown split.
        ImportError: an extra is missing; says how to install it.
    """
    _check(splits, clips, clips_per_video, workers)
    if size < 2 or size % 2:
        raise ValueError(f"`size` must be an even number of pixels, 2 or more, got {size}.")
    for split in splits:
        of_split = Path(folder, split)
        of_split.mkdir(parents=True, exist_ok=True)
        if clips_per_video > 1:
            write = partial(_write_video, of_split, seed, split, size, clips_per_video)
        else:
            write = partial(_write_clip, of_split, seed, split, size)
        num_videos = clips // clips_per_video
        with _mapper(workers) as mapped:
            rows = tqdm(mapped(write, range(num_videos)), split, num_videos, disable=None)
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for of_video in rows for row in of_video]
        (of_split / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")


def prepare_synthetic_videos(
    folder: str | os.PathLike,
    splits: Sequence[str] = ("test",),
    clips: int = 1000,
    *,
    clips_per_video: int = 1,
    text_pairs: int = 0,
    model: str | os.PathLike = "tcd-mini",
    seed: int = 0,
    workers: int = 1,
) -> None:
    """Writes clips as the prepared data set that [`prepare_dataset`] makes of videos.

    No video is encoded and no text read: frames are painted at the size of the model's images, captions have the
    errors that an OCR engine was seen to make.
    Other splits that the folder holds stay.

    Args:
        folder, splits, clips, clips_per_video, seed, workers: see [`write_synthetic_videos`].
        text_pairs (`int`, *optional*, defaults to 0): further rows of the split `"train"`, with the queries and
            captions of [`TextPairGenerator`] over bare backgrounds: texts of all kinds, with which frames are no help.
        model (`str | os.PathLike`, *optional*, defaults to `"tcd-mini"`): whose processor; see [`tcd_hf.load`].

    Raises:
        ValueError: a number out of its range, an unknown split, text pairs for another split or for long videos, or
            nothing that can be loaded.
        ImportError: an extra is missing; says how to install it.
    """
    from tcd_hf.loading import load_processor

    from .prepared_data import image_size

    _check(splits, clips, clips_per_video, workers)
    if text_pairs < 0 or (text_pairs and list(splits) != ["train"]):
        raise ValueError(f"`text_pairs` must be 0 or more, and are for the split train alone, got {text_pairs}.")
    if text_pairs and clips_per_video > 1:
        raise ValueError(f"`text_pairs` have no times: set `clips_per_video` to 1, got {clips_per_video}.")
    processor = load_processor(model)
    side = max(image_size(processor))
    for split in splits:
        if clips_per_video > 1:
            prepare = partial(_prepare_long_video, processor, side, seed, split, clips_per_video)
        else:
            prepare = partial(_prepare_clip, processor, side, seed, split)
        num_videos = clips // clips_per_video
        with _mapper(workers) as mapped:
            rows: list[Iterable[dict]] = [tqdm(mapped(prepare, range(num_videos)), split, num_videos, disable=None)]
            if text_pairs:
                pairs = _text_pair_rows(processor, side, seed, text_pairs)
                rows.append(tqdm(pairs, "text pairs", text_pairs, disable=None))
            _save_rows(rows, folder, split, processor, has_moments=clips_per_video > 1)


def _check(splits: Sequence[str], clips: int, clips_per_video: int, workers: int) -> None:
    for name, value in (("clips", clips), ("clips_per_video", clips_per_video), ("workers", workers)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
    if clips % clips_per_video:
        raise ValueError(f"`clips` must be a multiple of `clips_per_video`, {clips_per_video}, got {clips}.")
    unknown = [split for split in splits if split not in SPLITS]
    if unknown or not splits:
        raise ValueError(f"`splits` must be of {list(SPLITS)}, got {list(splits)}.")


@contextmanager
def _mapper(workers: int) -> Iterator[Callable]:
    """`map`, or one that does the same in several processes."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield partial(pool.map, chunksize=20)


def _write_clip(folder: Path, seed: int, split: str, size: int, number: int) -> list[dict]:
    """Writes one clip and returns its line of metadata.jsonl."""
    clip = make_clip(seed, split, number)
    path = clip.write(folder / f"{number:06d}.mp4", size)
    return [{"file_name": path.name, **clip.to_dict()}]


def _write_video(folder: Path, seed: int, split: str, size: int, num_clips: int, number: int) -> list[dict]:
    """Writes one long video and returns its lines of metadata.jsonl, one for each caption."""
    video = make_video(seed, split, number, num_clips)
    path = video.write(folder / f"{number:06d}.mp4", size)
    return [
        {"file_name": path.name, "caption": caption, "kind": kind, "moments": moments, "duration": video.duration}
        for caption, kind, moments in zip(video.captions, video.kinds, video.moments, strict=True)
    ]


def _save_rows(
    parts: Sequence[Iterable[dict]], folder: str | os.PathLike, split: str, processor: "TCDProcessor", has_moments: bool
) -> None:
    """Saves rows as a split of a prepared data set, without holding them in memory."""
    from datasets import Dataset, Features, Value
    from datasets.arrow_writer import ArrowWriter

    from .prepared_data import PREPARED_FEATURES, describe_preparation, save_split
    from .retrieval_datasets import MOMENTS

    features = Features({**PREPARED_FEATURES, "group": Value("string"), **(MOMENTS if has_moments else {})})
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as working:
        path = str(Path(working, "rows.arrow"))
        with ArrowWriter(path=path, features=features, writer_batch_size=64) as writer:
            for rows in parts:
                for row in rows:
                    writer.write(row)
            writer.finalize()
        made = Dataset.from_file(path)
        made.info.description = describe_preparation(processor)
        save_split(made, folder, split)
        del made  # files that are in use cannot be deleted everywhere


def _prepare_clip(processor: "TCDProcessor", side: int, seed: int, split: str, number: int) -> dict:
    """One clip as a prepared row."""
    from .prepared_data import prepare_video

    clip = make_clip(seed, split, number)
    texts = clip.captions(processor.num_frames, processor.window_scale, processor.ocr_fps)
    captions = processor.captioner.caption_texts(texts, clip.duration)
    return {
        "video_id": f"{split}-{number:06d}",
        "captions": [clip.query],
        "query_types": [clip.kind],
        "group": f"{split}-{min(number, *clip.negatives):06d}",
        **prepare_video(processor, list(clip.frames(processor.num_frames, side)), captions),
    }


def _prepare_long_video(
    processor: "TCDProcessor", side: int, seed: int, split: str, num_clips: int, number: int
) -> dict:
    """One long video as a prepared row."""
    from .prepared_data import prepare_video

    video = make_video(seed, split, number, num_clips)
    read = video.readings(processor.num_frames, processor.window_scale, processor.ocr_fps)
    captions = processor.captioner.caption_texts([" ".join(texts) for texts in read], video.duration)
    return {
        "video_id": f"{split}-{number:06d}",
        "captions": video.captions,
        "query_types": video.kinds,
        "group": None,
        "moments": video.moments,
        **prepare_video(processor, list(video.frames(processor.num_frames, side)), captions),
    }


def _text_pair_rows(processor: "TCDProcessor", side: int, seed: int, count: int) -> Iterator[dict]:
    """Text pairs as prepared rows: the caption in a run of windows, with a stray one now and then elsewhere."""
    from .prepared_data import prepare_video
    from .text_pairs import TextPairGenerator

    pairs, rng, windows = TextPairGenerator(seed), random.Random(f"{seed} text pairs"), processor.num_frames
    for number, pair in enumerate(pairs.take(count)):
        clip = make_clip(seed, "train", rng.randrange(1 << 20))
        bare = replace(clip, scene=Scene(clip.scene.background, (), ()))
        texts = [*pairs.take_strays(1), *[""] * (windows - 1)]
        rng.shuffle(texts)
        start = rng.randrange(windows)
        for window in range(start, rng.randrange(start, windows) + 1):
            texts[window] = pair.caption
        yield {
            "video_id": f"pair-{number:06d}",
            "captions": [pair.query],
            "query_types": ["text pair"],
            "group": f"pairs-{pair.group:06d}",
            **prepare_video(
                processor, list(bare.frames(windows, side)), processor.captioner.caption_texts(texts, clip.duration)
            ),
        }
