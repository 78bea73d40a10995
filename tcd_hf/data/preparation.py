"""Videos read once, so that training and evaluation never touch a video file again.

```python
report = prepare_dataset(load_retrieval_dataset("msvd", "MSVD", "Videos")["train"], processor, "prepared", "train")
report.bad_videos       # {"3qqEKTPxLNs_1_15": "Cannot read the video ...: it is empty. ..."}
```
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets

from tcd_hf.processing.ocr_engines import OCREngineError
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.reading.cache import CacheError, CaptionCache
from tcd_hf.reading.files import file_stamp
from tcd_hf.reading.fingerprints import caption_fingerprint, fingerprint, frame_fingerprint
from tcd_hf.reading.video_reader import VideoFile, VideoReader, describe_error
from tcd_hf.reading.worker_pool import careful_reader, give_up, warn_of_reading_here
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS, Failure, start_workers

from .prepared_data import (
    FRAME_SET,
    JPEG,
    PER_WINDOW,
    PREPARED_FEATURES,
    check_image_processor,
    complete_split,
    describe_preparation,
    image_size,
    prepare_video,
    save_split,
)
from .random_frames import random_frame_sets
from .shipped_ocr import ocr_in_seconds

__all__ = ["PreparationReport", "join_shards", "prepare_dataset", "prepare_splits", "prepare_videos", "shard_folder"]

VERSION = 2  # raise it when rows change: what is prepared already is then prepared again
PASSING = {getattr(errno, name) for name in ("EDQUOT", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "ESTALE")}
DEFAULT_NUM_PROC = 1
PIECE = 128  # videos; a run that is killed reads at most so many again, and the text in them not again


@dataclass(frozen=True)
class PreparationReport:
    """What became of the videos of a split.

    Attributes:
        num_videos (`int`): prepared.
        bad_videos (`dict[str, str]`): ids of those that cannot be read, and are left out, with the cause.
        missing (`list[str]`): ids of those that are not there, and were left out before.
        limits (`dict[str, float]`): what a video was allowed, `stall_seconds` and `max_pixels`.
        fingerprint (`str`): of everything that the rows were made from.
        reused (`bool`): whether all of it was there already.
    """

    num_videos: int
    bad_videos: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    reused: bool = False
    missing: list[str] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)

    @property
    def num_left_out(self) -> int:
        """How many videos cannot be read or are missing."""
        return len(self.bad_videos) + len(self.missing)

    @property
    def share_left_out(self) -> float:
        """Share of the videos that cannot be read or are missing, 0-1."""
        return self.num_left_out / max(1, self.num_videos + self.num_left_out)


def prepare_videos(
    batch: Mapping[str, list],
    processor: TCDProcessor,
    caption_cache: str | os.PathLike | None = None,
    shipped_ocr: bool = False,
    frame_sets: int = 0,
) -> dict[str, list]:
    """Reads videos; a function for `datasets.map`. [`prepare_dataset`] does the same, and all that belongs to it.

    The OCR engine is built in the process that reads. A video that cannot be read gives a row all the same, which says
    why in the column `error`, `None` elsewhere.

    Args:
        batch (`dict[str, list]`): columns of [`load_retrieval_dataset`], `group` too if there is one.
        processor (`TCDProcessor`): makes frames and captions.
        caption_cache (`str | os.PathLike`, *optional*): folder where captions are kept by the content of videos, so
            that no text is read twice. [`default_cache_dir`] when not given.
        shipped_ocr (`bool`, *optional*, defaults to `False`): take the captions from the column `ocr` where it is not
            `None`, in place of reading. Readings less confident than the processor's `min_confidence` are dropped.
        frame_sets (`int`, *optional*, defaults to 0): columns `frames_1`, ... of frames at random times and in random
            crops, see [`random_frame_sets`].

    Raises:
        CacheError: the cache folder cannot be written.
        OCREngineError, ImportError: the OCR engine or the decoder is not there, whatever the video.
        OSError: memory, disk or file handles ran out, or a disk failed, which may pass and makes no video a bad one.
    """
    make_row = _RowMaker(processor, caption_cache, frame_sets)
    return _with_rows(batch, map(make_row, _videos_of(batch, shipped_ocr)), frame_sets)


class _Video(NamedTuple):
    """A video of a batch, and the readings that are to be used in place of reading."""

    place: int
    path: str
    ocr: list[dict] | None
    careful: bool = False  # without decord, which brought a process down

    def with_care(self) -> "_Video":
        """What to try after a crash."""
        return self._replace(careful=True)


def _videos_of(batch: Mapping[str, list], shipped_ocr: bool) -> list[_Video]:
    ocr = batch["ocr"] if shipped_ocr else [None] * len(batch["video"])
    return [_Video(place, *video) for place, video in enumerate(zip(batch["video"], ocr, strict=True))]


def _with_rows(batch: Mapping[str, list], rows: Iterable[dict], frame_sets: int) -> dict[str, list]:
    columns, rows = {name: batch[name] for name in batch if name not in ("video", "ocr")}, list(rows)
    return columns | {
        name: [row.get(name) for row in rows] for name in (*PER_WINDOW, *_set_columns(frame_sets), "duration", "error")
    }


def _set_columns(frame_sets: int) -> list[str]:
    return [f"{FRAME_SET}{number}" for number in range(1, frame_sets + 1)]


class _RowMaker:
    """Makes the row of a video, in whatever process."""

    def __init__(self, processor: TCDProcessor, caption_cache: str | os.PathLike | None, frame_sets: int):
        self.processor, self.frame_sets = processor, frame_sets
        self.reader = VideoReader.of(processor, CaptionCache(caption_cache))

    def __call__(self, video: _Video) -> dict:
        path = video.path
        try:
            reader = careful_reader(self.reader) if video.careful else self.reader
            return _read_video(path, video.ocr, self.processor, reader, self.frame_sets)
        except (CacheError, OCREngineError, ImportError):
            raise
        except Exception as error:  # decoders raise what they like at broken files
            if _may_pass(error):
                raise OSError(
                    f"Reading {path} failed for a cause that may pass ({type(error).__name__}: {error}). Run this "
                    "again when it has: what is done is kept."
                ) from error
            return {"error": describe_error(path, error)}


@contextmanager
def _batch_reader(
    processor: TCDProcessor,
    num_proc: int | None,
    caption_cache: str | os.PathLike | None,
    shipped_ocr: bool,
    stall_seconds: float,
    frame_sets: int,
) -> Iterator[Callable[[Mapping[str, list]], dict[str, list]]]:
    """What does as [`prepare_videos`], in processes if there are to be any."""
    make_row, workers = _RowMaker(processor, caption_cache, frame_sets), None
    num_workers = DEFAULT_NUM_PROC if num_proc is None else num_proc
    if num_proc == 0:
        warn_of_reading_here()
    if num_workers > 0:
        retry = _Video.with_care
        workers = start_workers(make_row, num_workers, stall_seconds, retry=retry, required=num_proc is not None)

    def read(batch: Mapping[str, list]) -> dict[str, list]:
        videos = _videos_of(batch, shipped_ocr)
        if workers is None:
            return _with_rows(batch, map(make_row, videos), frame_sets)
        rows: dict[int, dict] = {}
        tasks = iter(videos)
        for video, row in workers.run(lambda: tasks):
            rows[video.place] = {"error": give_up(video.path, row).cause} if isinstance(row, Failure) else row
        return _with_rows(batch, (rows[place] for place in range(len(videos))), frame_sets)

    with workers or nullcontext():
        yield read


def _may_pass(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says nothing about the video."""
    while error is not None:
        of_ffmpeg = type(error).__module__.startswith("av.")  # which calls broken files what it calls broken disks
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in PASSING):
            return not of_ffmpeg
        error = error.__cause__
    return False


def _read_video(
    path: str, ocr: list[dict] | None, processor: TCDProcessor, reader: VideoReader, frame_sets: int
) -> dict:
    captioner, captions = processor.captioner, None
    reads_text = ocr is None and captioner.engine is not None
    with reader.open(VideoFile.of(path, with_hash=reads_text)) as video:
        if ocr is not None:
            sure = [one for one in ocr if one["confidence"] is None or one["confidence"] >= processor.min_confidence]
            captions = captioner.caption_texts(ocr_in_seconds(sure, video.fps), video.duration)
        frames, captions = video.read(video.whole, captions)
        sets = []
        if frame_sets:
            sets = random_frame_sets(video, frames, frame_sets, image_size(processor), Path(path).name)
    return prepare_video(processor, frames, captions, sets)


# a data set -----------------------------------------------------------------------------------------------------------
def prepare_splits(
    datasets: DatasetDict,
    processor: TCDProcessor,
    folder: str | os.PathLike,
    num_proc: int | None = None,
    caption_cache: str | os.PathLike | None = None,
    shipped_ocr: bool = False,
    stall_seconds: float = DEFAULT_STALL_SECONDS,
    *,
    shard: int = 0,
    num_shards: int = 1,
    missing: Mapping[str, Sequence[str]] | None = None,
    frame_sets: int = 0,
) -> dict[str, PreparationReport]:
    """Prepares all splits of a data set by [`prepare_dataset`], or one machine's share of them.

    Args:
        datasets (`datasets.DatasetDict`): of [`load_retrieval_dataset`] or [`load_video_folder`].
        processor, folder, num_proc, caption_cache, shipped_ocr, stall_seconds: see [`prepare_dataset`].
        shard, num_shards (`int`, *optional*, default to 0 and 1): which of how many shares. Several are put below
            `folder/shards`, and [`join_shards`] makes one data set of them.
        missing (`dict[str, list[str]]`, *optional*): of splits, ids of videos that were left out as they are not there,
            see `MissingFilesError`; the reports tell them, that of the first share if there are several.
        frame_sets (`int`, *optional*, defaults to 0): of the split `train`, see [`prepare_dataset`]. Others have none.

    Returns:
        `dict[str, PreparationReport]`: of each split.

    Raises:
        ValueError: no such shard; or see [`prepare_dataset`].
    """
    if not 0 <= shard < num_shards:
        raise ValueError(f"The shard must be from 0 to {num_shards - 1} (the number of shards less 1), got {shard}.")
    out = shard_folder(folder, shard, num_shards) if num_shards > 1 else folder
    reports = {}
    for split, dataset in datasets.items():
        share = dataset.shard(num_shards, shard, contiguous=True)
        options = num_proc, caption_cache, shipped_ocr, stall_seconds
        absent = list((missing or {}).get(str(split), ())) if shard == 0 else []
        sets = frame_sets if split == "train" else 0
        reports[split] = prepare_dataset(share, processor, out, str(split), *options, missing=absent, frame_sets=sets)
    return reports


def prepare_dataset(
    dataset: Dataset,
    processor: TCDProcessor,
    folder: str | os.PathLike,
    split: str,
    num_proc: int | None = None,
    caption_cache: str | os.PathLike | None = None,
    shipped_ocr: bool = False,
    stall_seconds: float = DEFAULT_STALL_SECONDS,
    *,
    missing: Sequence[str] = (),
    frame_sets: int = 0,
) -> PreparationReport:
    """Reads all videos of a split and saves the rows as `folder/split`.

    Work is done in pieces of `PIECE` videos, each kept when it is done: a run that was killed goes on where it was. A
    split that was prepared from the same files and captions with the same settings is not prepared again, unless videos
    of it could not be read, and are allowed something else now (`stall_seconds`, or `max_pixels` of the processor).

    Args:
        dataset (`Dataset`): columns of [`load_retrieval_dataset`], `group` too if there is one.
        processor (`TCDProcessor`): makes frames and captions.
        folder (`str | os.PathLike`): of the prepared data set; other splits in it stay.
        split (`str`): name of this one.
        num_proc (`int`, *optional*): processes that read; by default one, so that a file that brings its decoder down
            is left out like other bad ones. 0 reads in this process, which such a file ends.
        caption_cache, shipped_ocr: see [`prepare_videos`].
        stall_seconds (`float`, *optional*, defaults to 120): a video that gives neither a frame nor a text for so long
            is left out.
        missing (`list[str]`, *optional*): ids of videos that were left out before, for the report.
        frame_sets (`int`, *optional*, defaults to 0): further sets of frames, at random times and in random crops, see
            [`random_frame_sets`]. Training draws one of all sets whenever it shows a video; nothing else reads them.

    Returns:
        [`PreparationReport`]: with those videos that cannot be read; they are left out.

    Raises:
        ValueError: no videos, or an image processor that would not leave frames alone that are its own.
        CacheError, OCREngineError, ImportError, OSError: see [`prepare_videos`].
        WorkerError: `num_proc` processes were asked for, and there can be none.
    """
    if not len(dataset):
        raise ValueError(f"There are no videos to prepare in the split {split!r}: of a small set make fewer shards.")
    check_image_processor(processor)
    pieces = [dataset.select(range(first, min(first + PIECE, len(dataset)))) for first in range(0, len(dataset), PIECE)]
    settings = {
        "version": VERSION,
        "frames": frame_fingerprint(processor),
        "captions": caption_fingerprint(processor.captioner),
        "shipped_ocr": shipped_ocr,
        "jpeg": JPEG,
        **({"frame_sets": frame_sets} if frame_sets else {}),
    }
    names = [fingerprint({"rows": _what_rows_are_made_from(piece), **settings}) for piece in pieces]
    whole = fingerprint({"pieces": names})
    limits = {"stall_seconds": stall_seconds, "max_pixels": processor.max_pixels}
    working = Path(folder, f".{split}.pieces")
    done = _read_report(Path(folder, split))
    if done is not None and done.fingerprint == whole and (not done.bad_videos or done.limits in ({}, limits)):
        complete_split(folder, split)  # a run may have been killed when all but this was done
        shutil.rmtree(working, ignore_errors=True)
        return replace(done, missing=list(missing), reused=True)

    kept = {name: kind for name, kind in dataset.features.items() if name not in ("video", "ocr")}
    sets = dict.fromkeys(_set_columns(frame_sets), PREPARED_FEATURES["frames"])
    features = Features({**PREPARED_FEATURES, **sets, **kept, "error": Value("string")})
    working.mkdir(parents=True, exist_ok=True)
    with _batch_reader(processor, num_proc, caption_cache, shipped_ocr, stall_seconds, frame_sets) as read:
        rows = concatenate_datasets(
            [
                piece.map(
                    read,
                    batched=True,
                    batch_size=8 * (num_proc or 1),
                    writer_batch_size=64,
                    remove_columns=dataset.column_names,
                    features=features,
                    cache_file_name=str(working / f"{fingerprint({'rows': name, **limits})}.arrow"),
                    load_from_cache_file=True,
                    new_fingerprint=name,
                    desc=f"{split}, piece {number} of {len(pieces)}",
                )
                for number, (piece, name) in enumerate(zip(pieces, names, strict=True), start=1)
            ]
        )
    causes = list(rows["error"])
    bad = {name: cause for name, cause in zip(dataset["video_id"], causes, strict=True) if cause is not None}
    prepared = rows.remove_columns("error").select([row for row, cause in enumerate(causes) if cause is None])
    prepared.info.description = describe_preparation(processor)
    report = PreparationReport(len(prepared), bad, whole, missing=list(missing), limits=limits)
    save_split(prepared, folder, split, asdict(report))
    del rows, prepared  # files that are in use cannot be deleted everywhere
    shutil.rmtree(working, ignore_errors=True)
    return report


def _what_rows_are_made_from(piece: Dataset) -> list[dict]:
    """The rows themselves, and what shows that a file is not the one it was."""
    stamps = [file_stamp(path) if os.path.isfile(path) else None for path in piece["video"]]
    rows: Any = piece
    return [{**row, "stamp": stamp} for row, stamp in zip(rows, stamps, strict=True)]


# folders --------------------------------------------------------------------------------------------------------------
def _read_report(folder: Path) -> PreparationReport | None:
    path = folder / "preparation.json"
    return PreparationReport(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def shard_folder(folder: str | os.PathLike, shard: int, num_shards: int) -> Path:
    """Where in a folder of a prepared data set the share of one machine is put, see [`join_shards`]."""
    return Path(folder, "shards", f"{shard:05d}-of-{num_shards:05d}")


def join_shards(folder: str | os.PathLike) -> dict[str, PreparationReport]:
    """Joins the shares of all machines: `folder/shards/...`, which stay, become the splits of `folder`.

    Returns:
        `dict[str, PreparationReport]`: of each split.

    Raises:
        ValueError: shards are missing, or were not prepared in the same way.
    """
    found = sorted(Path(folder, "shards").glob("*-of-*"))
    if not found:
        raise ValueError(f"{folder} holds no shards. Prepare them with --shard and --num-shards first.")
    num_shards = int(found[0].name.partition("-of-")[2])
    shards = [shard_folder(folder, shard, num_shards) for shard in range(num_shards)]
    splits = sorted({path.parent.name for shard in found for path in shard.glob("[!.]*/state.json")})
    missing = [str(shard / split) for split in splits for shard in shards if not (shard / split).is_dir()]
    others = [str(shard) for shard in found if shard not in shards]
    if missing:
        raise ValueError(f"Shards are missing: {', '.join(missing)}. Prepare them, or delete other shards of no use.")
    if others:
        raise ValueError(f"Shards of another number of shards are in the way: {', '.join(others)}. Delete them.")
    reports = {}
    for split in splits:
        parts = [Dataset.load_from_disk(shard / split) for shard in shards]
        if len({part.info.description for part in parts}) > 1:
            raise ValueError(f"The shards of the split {split!r} were prepared with different processors.")
        made: list[Any] = [_read_report(shard / split) for shard in shards]
        bad = {name: cause for report in made for name, cause in report.bad_videos.items()}
        absent = [name for report in made for name in report.missing]
        whole = fingerprint({"shards": [report.fingerprint for report in made]})
        count = sum(report.num_videos for report in made)
        reports[split] = PreparationReport(count, bad, whole, missing=absent)
        save_split(concatenate_datasets(parts), folder, split, asdict(reports[split]))
    return reports
