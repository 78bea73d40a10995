"""Benchmarks of text-video retrieval as `datasets.DatasetDict`s of one form, from the published files."""

import csv
import hashlib
import json
import logging
import os
import pickle  # nosec B403 # for the name of its error
from collections import Counter
from collections.abc import Callable, Container, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, List, NamedSplit, Value

from tcd_hf.reading.files import VIDEO_EXTENSIONS, walk_once
from tcd_hf.reading.left_out import SOMETIMES_VIDEOS, LeftOut, describe_left_out

from .annotation_formats import FORMATS, AnnotatedVideo, AnnotationFormat

__all__ = ["FEATURES", "MOMENTS", "MissingFilesError", "load_retrieval_dataset"]

logger = logging.getLogger(__name__)

Rows = dict[str, list[dict]]  # of each split

FEATURES = Features(
    {
        "video_id": Value("string"),
        "video": Value("string"),
        "captions": List(Value("string")),
        "query_types": List(Value("string")),
        "ocr": List(
            {
                "text": Value("string"),
                "confidence": Value("float32"),
                "start_frame": Value("int32"),
                "end_frame": Value("int32"),
            }
        ),
    }
)
MOMENTS = {"moments": List(List(List(Value("float64"))))}
"""The column of data sets whose captions have times: of each caption its moments, each `[start, end]` in seconds."""
NAMES_IN_MESSAGE = 50
OTHER_FORM = (  # what reading a file raises that is not in the form one expects
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    json.JSONDecodeError,
    UnicodeDecodeError,
    csv.Error,
    pickle.UnpicklingError,
)


_VIDEOS = "videos ("  # what is missing of a split, which follows


class MissingFilesError(FileNotFoundError):
    """Files of a data set are missing. The message lists the first of each kind.

    Attributes:
        missing (`dict[str, list[str]]`): all of them, by what they are, such as `"videos (train)"`.
    """

    def __init__(self, name: str, missing: dict[str, list[str]]):
        self.missing = missing
        lines = [f"Files of {name} are missing."]
        for what, names in missing.items():
            more = len(names) - NAMES_IN_MESSAGE
            rest = f" and {more} more (`.missing` of this error has all)" if more > 0 else ""
            lines.append(f"{len(names)} {what}: {', '.join(names[:NAMES_IN_MESSAGE])}{rest}")
        super().__init__("\n".join(lines))

    def videos_of(self, split: str) -> list[str]:
        """Ids of the videos of a split that are missing."""
        return self.missing.get(f"{_VIDEOS}{split})", [])

    @property
    def missing_besides_videos(self) -> dict[str, list[str]]:
        """What is missing, but for the videos themselves."""
        return {what: names for what, names in self.missing.items() if not what.startswith(_VIDEOS)}


def load_retrieval_dataset(
    name: str,
    annotations: str | os.PathLike,
    videos: str | os.PathLike,
    ocr: str | os.PathLike | None = None,
    rewriter: Callable[[Sequence[tuple[str, str]]], Sequence[str]] | None = None,
    splits: Sequence[str] | None = None,
    validation_size: int = 0,
    skip_missing: bool = False,
) -> DatasetDict:
    """Loads a benchmark from its published files, one row per video.

    Everything is looked for before anything is reported. Videos and OCR are found by what the annotations call them
    among the files that a folder holds, subfolders included, so that nothing written in an annotation leads out of it.
    Links to files and folders are followed, wherever they lead.

    Columns: `video_id`; `video`, the path of the file; `captions`; `query_types`, what kind of query each caption is,
    or `None` (TextVR: the scenario, M4-ViteVQA: where the answer is found); `ocr`, what the data set ships as read in
    the video, or `None` (see `shipped_ocr`). Where captions have times, also `moments`: for each caption when the video
    shows it, a list of `[start, end]` in seconds, which is empty where that is not known.

    | name | splits |
    | --- | --- |
    | `textvr` | train, test |
    | `m4-vitevqa-t1s1`, `m4-vitevqa-t1s2`, `m4-vitevqa-t2` | train, validation, test |
    | `msrvtt-1ka` (1k-A with 9,000 videos to train on) | train, test |
    | `msrvtt-full`, `msvd`, `vatex` | train, validation, test |
    | `vatex-hgr` (validation split in two by your `val_list.txt` and `test_list.txt`) | train, validation, test |
    | `activitynet` (one paragraph a video; `val_1` is the test) | train, test |
    | `activitynet-moments` (a caption a sentence, with its time; `val_2` is the test) | train, validation, test |
    | `qvhighlights` (captions with their times, which are withheld of the test) | train, validation, test |

    Args:
        name (`str`): one of the table's, a key of `FORMATS`, which names the annotation files.
        annotations (`str | os.PathLike`): folder of the annotation files.
        videos (`str | os.PathLike`): folder of the videos.
        ocr (`str | os.PathLike`, *optional*): folder of the OCR that TextVR (`Kwai_VideoOCR`) and M4-ViteVQA
            (`video_ocr`) ship.
        rewriter (`Callable`, *optional*): makes sentences of M4-ViteVQA's pairs of question and answer, see
            [`QuestionRewriter`].
        splits (`Sequence[str]`, *optional*): only these; the files of others need not be there.
        validation_size (`int`, defaults to 0): videos of the training split to set apart as validation where none is
            published. Which ones depends on their ids alone. Choose checkpoints on them, never on the test split.
        skip_missing (`bool`, defaults to `False`): leave out videos that are missing and do without OCR that is
            missing or broken, with a warning. Many videos of YouTube are gone.

    Returns:
        `datasets.DatasetDict`. Its data are in memory and have the same fingerprint each time: `map` keeps what it
        makes of them only where `cache_file_names` says, else `save_to_disk` does.

    Raises:
        MissingFilesError: lists everything that is missing at once.
        ValueError: when an argument or an annotation file is wrong.
    """
    form = _checked_format(name, ocr, rewriter, splits, validation_size)
    needed: dict[str, list[str]] = {}  # what is missing of it
    wanted: dict[str, list[str]] = {}
    annotated = _read_annotations(name, form, Path(annotations), splits or list(form.files), needed)
    left_out: list[LeftOut] = []
    kinds = VIDEO_EXTENSIONS - SOMETIMES_VIDEOS  # thumbnails have the same names
    video_files = _files_in(videos, kinds, needed, left_out)
    if left_out:
        logger.warning("%s, in %s.", describe_left_out(left_out), videos)
    ocr_files = None if ocr is None else _files_in(ocr, {".json"}, needed)
    rows = {} if "folders" in needed else _find_files(form, annotated, video_files, ocr_files, wanted)
    if needed or wanted:
        report = MissingFilesError(name, needed | wanted)
        if needed or not skip_missing or not all(rows.values()):
            raise report
        logger.warning("%s", report)
    if form.has_questions and rewriter is not None:
        _rewrite_questions(rows, rewriter)
    _warn_of_shared_videos(rows)
    if validation_size:
        rows = _hold_out(rows, validation_size)
    features = Features({**FEATURES, **MOMENTS}) if form.has_moments else FEATURES
    return DatasetDict(
        {split: Dataset.from_list(found, features=features, split=NamedSplit(split)) for split, found in rows.items()}
    )


def _checked_format(name: str, ocr, rewriter, splits, validation_size: int) -> AnnotationFormat:
    if name not in FORMATS:
        raise ValueError(f"There is no data set {name!r}; there are {', '.join(FORMATS)}.")
    form = FORMATS[name]
    unknown = [split for split in splits or () if split not in form.files]
    if unknown:
        raise ValueError(f"{name} has no split {', '.join(unknown)}; it has {', '.join(form.files)}.")
    if ocr is not None and form.read_ocr is None:
        raise ValueError(f"{name} ships no OCR, but ocr={os.fspath(ocr)!r} was given: leave it out.")
    if form.has_questions and rewriter is None:
        raise ValueError(
            f"{name} has questions and answers in place of captions: give a `rewriter` that makes sentences of them, "
            "such as QuestionRewriter(model, cache_file)."
        )
    if rewriter is not None and not form.has_questions:
        raise ValueError(f"{name} has captions, no questions to rewrite: leave the `rewriter` out.")
    if validation_size < 0:
        raise ValueError(f"validation_size must not be negative, got {validation_size}.")
    if validation_size and "validation" in form.files:
        raise ValueError(f"{name} has a validation split of its own: leave out validation_size={validation_size}.")
    if validation_size and splits and "train" not in splits:
        raise ValueError(f"validation_size={validation_size} takes videos of the split 'train': add it to `splits`.")
    return form


def _read_annotations(
    name: str, form: AnnotationFormat, folder: Path, splits: Sequence[str], missing: dict[str, list[str]]
) -> dict[str, list[AnnotatedVideo]]:
    """What the annotation files say of each split; leaves out splits of which a file is missing."""
    files = dict.fromkeys(file for split in splits for file in form.files[split])
    absent = [file for file in files if not (folder / file).is_file()]
    if absent:
        missing[f"annotation files in {folder}"] = absent
        for file, why in form.scrambled.items():
            if (folder / file).is_file():
                missing[f"files refused, as {why}"] = [file]
    annotated = {}
    for split in splits:
        paths = [folder / file for file in form.files[split]]
        if set(absent) & set(form.files[split]):
            continue
        try:
            annotated[split] = form.read(split, paths)
        except OTHER_FORM as error:
            read = " and ".join(str(path) for path in paths)
            raise ValueError(f"{read}: not in the form in which {name} is published ({error!r}).") from error
        if not annotated[split]:
            raise ValueError(f"{paths[-1]}: no videos of the split {split!r}.")
        wordless = [video.video_id for video in annotated[split] if not video.captions]
        if wordless:
            raise ValueError(f"{paths[-1]}: {len(wordless)} videos have no caption: {', '.join(wordless)}.")
    return annotated


def _files_in(
    folder: str | os.PathLike,
    extensions: Container[str],
    missing: dict[str, list[str]],
    left_out: list[LeftOut] | None = None,
) -> dict[str, str]:
    """Files of a folder by their path in it, and by their name without ending (the first one of a name); others are
    `left_out`.

    Links are followed wherever they lead, and a folder is entered once. Links that lead nowhere are files here.
    """
    root = os.path.realpath(folder)
    if not os.path.isdir(root):
        missing.setdefault("folders", []).append(os.fspath(folder))
    files: dict[str, str] = {}
    for current, _, names in walk_once(root, set()):
        for path in (Path(current, name) for name in names):
            ending = path.suffix.lower()
            if ending in extensions and not path.name.startswith("."):
                files[path.relative_to(root).as_posix()] = path.as_posix()
                files.setdefault(path.stem, path.as_posix())
            elif left_out is not None:
                kind = "hidden" if path.name.startswith(".") else ending or "without ending"
                left_out.append(LeftOut(str(path), kind))
    return files


def name_missing(path: str) -> str:
    """The name of a file that is not there, in a message: of a link, also where it leads."""
    return f"{path} (a link to {os.readlink(path)}, which is not there)" if os.path.islink(path) else path


def _find_files(
    form: AnnotationFormat,
    annotated: dict[str, list[AnnotatedVideo]],
    video_files: dict[str, str],
    ocr_files: dict[str, str] | None,
    missing: dict[str, list[str]],
) -> Rows:
    """Rows of the videos that are there."""
    rows: Rows = {}
    for split, videos in annotated.items():
        rows[split] = []
        lost, unread = [], []
        for video in videos:
            path = next((video_files[name] for name in video.file_names if name in video_files), None)
            ocr = None
            if ocr_files is not None and form.read_ocr is not None:
                ocr = _read_ocr(form.read_ocr, ocr_files.get(video.ocr_name or ""))
            if path is None:
                lost.append(video.video_id)
            elif not os.path.exists(path):
                lost.append(f"{video.video_id}, {name_missing(path)}")
            else:
                rows[split].append(
                    {
                        "video_id": video.video_id,
                        "video": path,
                        "captions": video.captions,
                        "query_types": video.query_types,
                        "ocr": ocr,
                        **({"moments": video.moments} if form.has_moments else {}),
                    }
                )
            if ocr_files is not None and ocr is None:
                unread.append(video.video_id)
        found = {f"{_VIDEOS}{split})": lost, f"videos whose OCR is missing or broken ({split})": unread}
        missing.update({what: names for what, names in found.items() if names})
    return rows


def _read_ocr(read: Callable[[Any], list[dict]], path: str | None) -> list[dict] | None:
    if path is None:
        return None
    try:
        return read(json.loads(Path(path).read_text(encoding="utf-8")))
    except (*OTHER_FORM, ValueError, OSError) as error:
        logger.warning("%s cannot be read: %r", path, error)
        return None


def _rewrite_questions(rows: Rows, rewriter: Callable[[Sequence[tuple[str, str]]], Sequence[str]]):
    pairs = [pair for found in rows.values() for row in found for pair in row["captions"]]
    sentences = list(rewriter(pairs))
    if len(sentences) != len(pairs):
        raise ValueError(f"The rewriter gave {len(sentences)} sentences for {len(pairs)} questions: give one each.")
    remaining = iter(sentences)
    for found in rows.values():
        for row in found:
            row["captions"] = list(islice(remaining, len(row["captions"])))


def _warn_of_shared_videos(rows: Rows):
    counts = Counter(row["video_id"] for found in rows.values() for row in found)
    shared = [video_id for video_id, count in counts.items() if count > 1]
    if shared:
        logger.warning("%d videos are in more than one split: %s", len(shared), ", ".join(shared))


def _hold_out(rows: Rows, size: int) -> Rows:
    """Moves the videos whose ids come first by hash from training to validation: a choice without an order or seed."""
    train = rows["train"]
    if size >= len(train):
        raise ValueError(f"validation_size={size} leaves none of {len(train)} videos to train on.")
    by_hash = sorted((row["video_id"] for row in train), key=lambda name: hashlib.blake2b(name.encode()).digest())
    held_out = set(by_hash[:size])
    parts = {
        "train": [row for row in train if row["video_id"] not in held_out],
        "validation": [row for row in train if row["video_id"] in held_out],
    }
    return {**parts, **{split: found for split, found in rows.items() if split != "train"}}
