"""The annotation files of text-video retrieval data sets, as they are published, read into one form."""

import csv
import json
import logging
import math
import pickle  # nosec B403 # read by an unpickler that knows plain containers only
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from .shipped_ocr import read_kwai_ocr, read_vitevqa_ocr

__all__ = ["FORMATS", "AnnotatedVideo", "AnnotationFormat", "Moments", "QuestionAnswer", "check_moments"]

logger = logging.getLogger(__name__)

Moments = list[tuple[float, float]]  # start and end, seconds of the video's file
MSRVTT_NUMBERS = {"train": range(6513), "validation": range(6513, 7010), "test": range(7010, 10_000)}


class QuestionAnswer(NamedTuple):
    """What M4-ViteVQA has in a caption's place, see [`QuestionRewriter`]."""

    question: str
    answer: str


@dataclass
class AnnotatedVideo:
    """One video and what is written about it.

    Attributes:
        video_id (`str`): as the data set names it.
        file_names (`tuple[str, ...]`): what its file may be called: a path relative to the folder of videos, or a name
            without its ending.
        captions (`Sequence[str | QuestionAnswer]`): at least one; all of a kind.
        query_types (`list[str | None]`): for each caption what kind of query it is, where that is known.
        ocr_name (`str`, *optional*): the file of its shipped OCR, likewise.
        moments (`list[list[tuple[float, float]]]`, *optional*): for each caption the times, start and end in seconds,
            at which the video shows what it says; none where they are not known. `None` if they are known of no caption
            of the data set.
    """

    video_id: str
    file_names: tuple[str, ...]
    captions: Sequence[str | QuestionAnswer]
    query_types: list[str | None]
    ocr_name: str | None = None
    moments: list[Moments] | None = None


@dataclass(frozen=True)
class AnnotationFormat:
    """How a data set is published.

    Attributes:
        files (`dict[str, tuple[str, ...]]`): annotation files of each split.
        read (`Callable`): from a split's files to its [`AnnotatedVideo`]s; raises `ValueError` for what is wrong in
            them, `KeyError`, `TypeError` and the like where they have another form.
        read_ocr (`Callable`, *optional*): from the content of a file of shipped OCR to readings, see `shipped_ocr`.
        has_questions (`bool`, defaults to `False`): its captions are [`QuestionAnswer`]s.
        has_moments (`bool`, defaults to `False`): its captions come with their times.
        scrambled (`dict[str, str]`): files that must not stand in for one of `files`, and why.
    """

    files: dict[str, tuple[str, ...]]
    read: Callable[[str, list[Path]], list[AnnotatedVideo]]
    read_ocr: Callable[[Any], list[dict]] | None = None
    has_questions: bool = False
    has_moments: bool = False
    scrambled: dict[str, str] = field(default_factory=dict)


def read_textvr(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """A list of `{path, captions_info: [{caption, caption_info}], videos_info: {source, split, Kwai_OCR}}`.

    The query type is the scenario, which is the folder that the video lies in. (Source: README, `TextVR_test.json` and
    its loader in github.com/callsys/TextVR.)
    """
    videos = []
    for entry in _load_json(paths[0]):
        path, ocr_path = PurePosixPath(entry["path"]), entry["videos_info"].get("Kwai_OCR")
        if ocr_path and PurePosixPath(ocr_path).stem != path.stem:
            raise ValueError(
                f"{paths[0]} names the OCR of another video, {ocr_path}, for {path}: so did the first release of the "
                "test file. Take today's from https://github.com/callsys/TextVR."
            )
        captions = [info["caption"] for info in entry["captions_info"]]
        video_id = path.with_suffix("").as_posix()
        videos.append(_video(video_id, captions, [path.as_posix()], path.parts[0], ocr_path))
    return _merge(videos)


def read_m4_vitevqa(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """`{dataset_type, data: [{question, answers, video_id, source1, source2, ...}]}`: one caption a question.

    A question with several answers is put with the first (ours), one without any is left out. The query type joins
    `source2` (Text, Visual or Knowledge) and `source1` (Single frame or Multi frame). (Source: `Annotations/` in
    github.com/bytedance/VTVQA, whose test files of task 1 come without answers.)
    """
    questions = _load_json(paths[0])["data"]
    videos = [
        AnnotatedVideo(
            video_id=item["video_id"],
            file_names=(item["video_id"],),
            captions=[QuestionAnswer(_tidy(item["question"]), _tidy(item["answers"][0]))],
            query_types=[", ".join(filter(None, (item["source2"], item["source1"]))) or None],
            ocr_name=item["video_id"],
        )
        for item in questions
        if item["answers"]
    ]
    if questions and not videos:
        raise ValueError(
            f"{paths[0]} withholds the answers, and without them its {len(questions)} questions give no sentence to "
            "search with. Ask the authors for the answers, or load the other splits with `splits`."
        )
    if len(videos) < len(questions):
        logger.warning("%s: left out %d questions without an answer.", paths[0], len(questions) - len(videos))
    return _merge(videos)


def read_msrvtt_full(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """`{sentences: [{video_id, caption}], videos}`; the splits are ranges of the numbers in ids. (Source: the readme
    that MSR-VTT 10K comes with: video0 to video6512, video6513 to video7009, video7010 to video9999.)
    """
    captions = _group_sentences(_load_json(paths[0]))
    video_ids = [f"video{number}" for number in MSRVTT_NUMBERS[split]]
    return [_video(video_id, captions[video_id]) for video_id in video_ids if video_id in captions]


def read_msrvtt_1ka(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """Training: the sentences of `MSRVTT_data.json` for the ids of a CSV file with a column `video_id`; test: a CSV
    file `key,vid_key,video_id,sentence`. (Source: `dataloader_msrvtt_retrieval.py` in github.com/ArrowLuo/CLIP4Clip.)
    """
    with open(paths[-1], encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    if split == "test":
        return _merge(_video(row["video_id"], [row["sentence"]]) for row in rows)
    return _select(_group_sentences(_load_json(paths[0])), [row["video_id"] for row in rows], paths[-1])


def read_msvd(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """A pickle `{video_id: [[token, ...], ...]}` and the ids of the split, one a line. (Source:
    `dataloader_msvd_retrieval.py` in github.com/ArrowLuo/CLIP4Clip.)
    """
    with open(paths[0], "rb") as file:
        sentences = _PlainUnpickler(file).load()
    captions = {video_id: [" ".join(tokens) for tokens in sentences[video_id]] for video_id in sentences}
    return _select(captions, _read_lines(paths[1]), paths[1])


def read_vatex(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """A list of `{videoID: "YouTubeID_start_end", enCap: [10 captions]}`, and the ids of the split, one a line, where
    it is a part of that list. (Source: eric-xw.github.io/vatex-website/download.html.)
    """
    captions = {entry["videoID"]: entry["enCap"] for entry in _load_json(paths[0])}
    return _select(captions, _read_lines(paths[1]) if paths[1:] else captions, paths[-1])


def read_activitynet(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """`{"v_" + YouTubeID: {duration, timestamps, sentences}}`: one paragraph a video. Files may leave out the `v_`, as
    in `dataloader_activitynet_retrieval.py` in github.com/ArrowLuo/CLIP4Clip, the source.
    """
    return [
        _video(video_id, [" ".join(entry["sentences"])], [video_id, video_id.removeprefix("v_")])
        for video_id, entry in _load_json(paths[0]).items()
    ]


def read_activitynet_moments(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """The same files, a caption for each sentence, with its time from `timestamps`.

    A sentence whose time has no length, or ends before it starts, is kept without a time: it is no moment to be found.
    (Source: `lib/datasets/activitynet.py` in github.com/microsoft/2D-TAN, which leaves such sentences out, validates on
    `val_1.json` and tests on `val_2.json`.)
    """
    videos = []
    for video_id, entry in _load_json(paths[0]).items():
        sentences, times = entry["sentences"], entry["timestamps"]
        if len(sentences) != len(times):
            raise ValueError(f"{paths[0]}, {video_id}: {len(times)} timestamps for {len(sentences)} sentences.")
        moments = [
            [] if len(time) == 2 and time[1] <= time[0] else check_moments(f"{paths[0]}, {video_id}", [time])
            for time in times
        ]
        videos.append(_video(video_id, sentences, [video_id, video_id.removeprefix("v_")], moments=moments))
    timeless = sum(not moments for video in videos for moments in video.moments)
    if timeless:
        logger.warning("%s: %d sentences have a time of no length, and no moment.", paths[0], timeless)
    return videos


def read_qvhighlights(split: str, paths: list[Path]) -> list[AnnotatedVideo]:
    """A line for each query, `{qid, query, vid, duration, relevant_windows, relevant_clip_ids, saliency_scores}`.

    `relevant_windows` are its moments, as many as there are; the lines of the test file come without. The last two
    fields rate clips of 2 s, which is another task, and are not read. (Source: `data/README.md` in
    github.com/jayleicj/moment_detr.)
    """
    videos = []
    with open(paths[0], encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            where = f"{paths[0]}, line {number}"
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                video_id, query = entry["vid"], entry["query"]
                windows = entry.get("relevant_windows", []) if split == "test" else entry["relevant_windows"]
                video = _video(video_id, [query], moments=[check_moments(where, windows)])
            except (LookupError, TypeError, AttributeError, json.JSONDecodeError) as error:
                raise ValueError(f"{where}: not in the form in which qvhighlights is published ({error!r}).") from error
            videos.append(video)
    return _merge(videos)


def check_moments(where: str, moments: list[Sequence[float]]) -> Moments:
    """Moments as pairs of numbers.

    Args:
        where (`str`): file and line that they stand in, for the message.
        moments (`list[Sequence[float]]`): start and end of each, in seconds.

    Raises:
        ValueError: they are no list, or one is no pair of numbers, not in order, or begins before the video.
    """
    if not isinstance(moments, list):
        raise ValueError(f"{where}: moments must be a list of [start, end] in seconds, got {moments!r}.")
    checked = []
    for moment in moments:
        try:
            start, end = moment
            in_order = 0 <= start < end < math.inf
        except (TypeError, ValueError):
            in_order = False
        if not in_order:
            raise ValueError(
                f"{where}: a moment must be [start, end] in seconds with 0 <= start < end, got {moment!r}."
            )
        checked.append((float(start), float(end)))
    return checked


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles dict, list, tuple, str and numbers, which need no name looked up, and nothing else: no code can run."""

    def find_class(self, module: str, name: str):
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which captions do not need: do not trust it")


def _load_json(path: Path) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _read_lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _group_sentences(data: dict[str, Any]) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for sentence in data["sentences"]:
        captions.setdefault(sentence["video_id"], []).append(sentence["caption"])
    return captions


def _select(captions: dict[str, list[str]], video_ids: Iterable[str], source: Path) -> list[AnnotatedVideo]:
    video_ids = list(dict.fromkeys(video_ids))
    unknown = [video_id for video_id in video_ids if video_id not in captions]
    if unknown:
        raise ValueError(f"{len(unknown)} videos of {source} have no caption: {', '.join(unknown)}.")
    return [_video(video_id, captions[video_id]) for video_id in video_ids]


def _video(
    video_id: str,
    captions: Iterable[str],
    file_names: Iterable[str] = (),
    query_type: str | None = None,
    ocr_name: str | None = None,
    moments: list[Moments] | None = None,
) -> AnnotatedVideo:
    captions = [_tidy(caption) for caption in captions]
    if moments is not None:
        moments = [times for caption, times in zip(captions, moments, strict=True) if caption]
    captions = list(filter(None, captions))
    query_types = [query_type] * len(captions)
    return AnnotatedVideo(video_id, tuple(file_names) or (video_id,), captions, query_types, ocr_name, moments)


def _tidy(text: str) -> str:
    return " ".join(text.split())


def _merge(videos: Iterable[AnnotatedVideo]) -> list[AnnotatedVideo]:
    """Entries of the same video as one, in order of first appearance."""
    merged: dict[str, AnnotatedVideo] = {}
    for video in videos:
        first = merged.setdefault(video.video_id, video)
        if first is not video:
            first.captions = [*first.captions, *video.captions]
            first.query_types += video.query_types
            if first.moments is not None:
                first.moments += video.moments or []
    return list(merged.values())


def _m4_vitevqa(task: str) -> AnnotationFormat:
    parts = {"train": "train", "validation": "val", "test": "test"}
    files = {split: (f"ViteVQA_0.0.2_{task}{part}.json",) for split, part in parts.items()}
    return AnnotationFormat(files, read_m4_vitevqa, read_vitevqa_ocr, has_questions=True)


FORMATS = {
    "textvr": AnnotationFormat(
        {"train": ("TextVR_train.json",), "test": ("TextVR_test.json",)},
        read_textvr,
        read_kwai_ocr,
        scrambled={"TextVR_test_rand.json": "their captions are scrambled on purpose and match no video"},
    ),
    "m4-vitevqa-t1s1": _m4_vitevqa("t1s1"),
    "m4-vitevqa-t1s2": _m4_vitevqa("t1s2"),
    "m4-vitevqa-t2": _m4_vitevqa("t2"),
    "msrvtt-1ka": AnnotationFormat(
        {"train": ("MSRVTT_data.json", "MSRVTT_train.9k.csv"), "test": ("MSRVTT_JSFUSION_test.csv",)}, read_msrvtt_1ka
    ),
    "msrvtt-full": AnnotationFormat(
        dict.fromkeys(("train", "validation", "test"), ("MSRVTT_data.json",)), read_msrvtt_full
    ),
    "msvd": AnnotationFormat(
        {
            split: ("raw-captions.pkl", f"{part}_list.txt")
            for split, part in {"train": "train", "validation": "val", "test": "test"}.items()
        },
        read_msvd,
    ),
    "vatex": AnnotationFormat(
        {
            "train": ("vatex_training_v1.0.json",),
            "validation": ("vatex_validation_v1.0.json",),
            "test": ("vatex_public_test_english_v1.1.json",),
        },
        read_vatex,
    ),
    "vatex-hgr": AnnotationFormat(  # published validation split in two; the lists of ids are the user's
        {
            "train": ("vatex_training_v1.0.json",),
            "validation": ("vatex_validation_v1.0.json", "val_list.txt"),
            "test": ("vatex_validation_v1.0.json", "test_list.txt"),
        },
        read_vatex,
    ),
    "activitynet": AnnotationFormat({"train": ("train.json",), "test": ("val_1.json",)}, read_activitynet),
    "activitynet-moments": AnnotationFormat(
        {"train": ("train.json",), "validation": ("val_1.json",), "test": ("val_2.json",)},
        read_activitynet_moments,
        has_moments=True,
    ),
    "qvhighlights": AnnotationFormat(
        {
            split: (f"highlight_{part}_release.jsonl",)
            for split, part in {"train": "train", "validation": "val", "test": "test"}.items()
        },
        read_qvhighlights,
        has_moments=True,
    ),
}
