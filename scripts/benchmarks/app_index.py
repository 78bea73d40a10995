"""An index of videos of hours for `app.py`, made without reading them.

The videos are cards of `videos/cards.py`, as files that play. What is shown in them is known, so that their captions
are written down, not read; embeddings are random unit vectors. All else is the product's: rows, text index, statistics.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from scripts.benchmarks.videos.cards import Card
from scripts.benchmarks.videos.collection import Target, string_collection
from tcd_hf import VideoIndex, load_mini
from tcd_hf.index.schema import rows_from
from tcd_hf.index.storage import IndexStorage
from tcd_hf.processing.text_tracks import TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.files import file_stamp, hash_file
from tcd_hf.reading.video_reader import VideoRecord

LONG_MINUTES = 180  # of one more video, to jump in
FPS = 2.0  # of the files


def make_index(folder: Path, hours: int, num_strings: int, seed: int = 0) -> tuple[VideoIndex, list[Target]]:
    """Writes videos of an hour, one of three, and their index, made by tcd-mini.

    Args:
        folder (`Path`): empty.
        hours (`int`): videos of an hour.
        num_strings (`int`): texts to search for, every other one in the long video, the last one.
        seed (`int`, *optional*, defaults to 0): of what is shown when.

    Returns:
        The index, and the texts with the times at which they are shown.
    """
    collection = string_collection([(hours, 60), (1, LONG_MINUTES)], num_strings, seed)
    model, processor = load_mini()
    index = VideoIndex.create(folder / "index", model, processor, cache_dir=folder / "cache")
    storage, rng = IndexStorage(index.uri), np.random.default_rng(seed)
    storage.open()
    for path, cards in zip(collection.write(folder / "videos"), collection.videos, strict=True):
        records = segments_of(path, cards, index.metadata.segment_seconds, index.metadata.num_frames)
        storage.append(rows_from(records, random_features(model, records, rng), storage.videos.schema))
    storage.maintain(index.memory_budget)
    storage.save_statistics()
    return index, collection.targets


def segments_of(path: Path, cards: Sequence[Card], segment_seconds: float, num_windows: int) -> list[VideoRecord]:
    """The segments of a video with the captions of their windows."""
    duration, length = sum(card.seconds for card in cards), segment_seconds / num_windows
    windows = [WindowCaption(place * length, (place + 1) * length) for place in range(round(duration / length))]
    start = 0.0
    for card in cards:
        end = start + card.seconds
        for window in windows[int(start / length) : int(np.ceil(end / length))]:
            seen = max(start, window.start), min(end, window.end)
            window.tracks.extend(
                TextTrack(text, score, *seen, box, 3, sum(seen) / 2) for text, score, box in card.readings[0]
            )
        start = end
    for window in windows:
        window.text = " ".join(track.text for track in window.tracks)
    stamp = file_stamp(path)
    about = path.absolute().as_posix(), hash_file(path), stamp.size, stamp.modified, duration, FPS
    parts = [windows[first : first + num_windows] for first in range(0, len(windows), num_windows)]
    return [VideoRecord(*about, part, number, part[0].start, part[-1].end) for number, part in enumerate(parts)]


@torch.no_grad()
def random_features(model, records: Sequence[VideoRecord], rng: np.random.Generator):
    """Features of segments that look like nothing and mean nothing."""
    shape = (len(records), len(records[0].captions), model.config.projection_dim)
    frames, windows = (torch.from_numpy(rng.standard_normal(shape, np.float32)) for _ in range(2))
    unit = torch.nn.functional.normalize
    mask = torch.tensor([[bool(caption.text) for caption in record.captions] for record in records])
    return model.precompute(model.fuse(unit(frames, dim=-1), unit(windows, dim=-1), mask))
