"""Videos beside a `metadata.jsonl` that describes them, as the videofolder of `datasets` has them."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset, DatasetDict, Features, NamedSplit, Value

from tcd_hf.reading.files import absolute_path, absolute_videos

from .annotation_formats import check_moments
from .retrieval_datasets import FEATURES, MOMENTS, MissingFilesError, name_missing

__all__ = ["load_video_folder"]

logger = logging.getLogger(__name__)

FOLDER_FEATURES = Features({**FEATURES, "group": Value("string")})


def load_video_folder(folder: str | os.PathLike, splits: Sequence[str] | None = None) -> DatasetDict:
    """Loads `folder/SPLIT/metadata.jsonl`, such as [`write_synthetic_videos`] writes it, one row per video.

    A line is `{"file_name", "caption"}` and, where known, `"kind"`, the type of the query, `"moments": [[start, end]]`,
    when the video shows it, in seconds, and `"number"` with `"negatives": [{"number"}]`, the members of its group of
    hard negatives. Lines of one file are captions of it. A file name is relative to the split's folder and never leads
    out of it; links to files and folders are followed, wherever they lead.

    Args:
        folder (`str | os.PathLike`): a folder of splits.
        splits (`Sequence[str]`, *optional*): only these.

    Returns:
        `datasets.DatasetDict`: columns as in [`load_retrieval_dataset`], and `group`; `moments` if a line of some split
        has them. A `video_id` is the split and the name of the file without its ending, such as `"test-000012"`.

    Raises:
        MissingFilesError: lists all videos that are missing.
        ValueError: no splits, a line in another form, a caption that is blank or no text, a moment that does not end
            after it starts, or a file name that leads out of the folder.
    """
    found = {path.parent.name: path for path in sorted(Path(folder).glob("*/metadata.jsonl"))}
    unknown = [split for split in splits or () if split not in found]
    if unknown or not found:
        raise ValueError(
            f"{folder} holds {', '.join(found) or 'no splits'} (SPLIT/metadata.jsonl); asked for {unknown}."
        )
    rows = {split: _read_split(split, found[split]) for split in splits or found}
    missing = {
        f"videos ({split})": [name_missing(row["video"]) for row in of_split if not os.path.isfile(row["video"])]
        for split, of_split in rows.items()
    }
    if any(missing.values()):
        raise MissingFilesError(os.fspath(folder), {what: names for what, names in missing.items() if names})
    for split, of_split in rows.items():
        _tell_unnamed(found[split].parent, {row["video"] for row in of_split})
    has_moments = any(moments for of_split in rows.values() for row in of_split for moments in row["moments"])
    features = Features({**FOLDER_FEATURES, **(MOMENTS if has_moments else {})})
    rows = {split: [{name: row[name] for name in features} for row in of_split] for split, of_split in rows.items()}
    return DatasetDict(
        {split: Dataset.from_list(of_split, features, split=NamedSplit(split)) for split, of_split in rows.items()}
    )


def _tell_unnamed(folder: Path, named: set[str]) -> None:
    """Warns of videos of a split that no line names: they are left out."""
    known = set(map(absolute_path, named))
    unnamed = [path for path in absolute_videos(folder).videos if path not in known]
    if unnamed:
        logger.warning(
            "Left out %d videos in %s that its metadata.jsonl does not name, such as %s.",
            len(unnamed),
            folder,
            unnamed[0],
        )


def _read_split(split: str, metadata: Path) -> list[dict]:
    with open(metadata, encoding="utf-8") as file:  # captions may hold what str.splitlines() takes for line ends
        lines = [(number, text) for number, text in enumerate(file, start=1) if text.strip()]
    rows: dict[str, dict] = {}
    for number, text in lines:
        try:
            line = json.loads(text)
            name, caption, kind = line["file_name"], line["caption"], line.get("kind")
            moments = line.get("moments", [])
            members = [line["number"], *(other["number"] for other in line["negatives"])] if "negatives" in line else []
            row = {
                "video_id": f"{split}-{Path(name).with_suffix('').as_posix()}",
                "video": (metadata.parent / os.path.normpath(name)).as_posix(),
                "captions": [],
                "query_types": [],
                "moments": [],
                "ocr": None,
                "group": f"{split}-{min(members):06d}" if members else None,
            }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{metadata}, line {number}: not in the form of a videofolder ({error!r}).") from error
        if not isinstance(caption, str) or not caption.strip():
            raise ValueError(f"{metadata}, line {number}: a caption must be a text that is not blank, got {caption!r}.")
        if not Path(row["video"]).is_relative_to(metadata.parent) or ".." in Path(os.path.normpath(name)).parts:
            raise ValueError(f"{metadata}, line {number}: {name!r} leads out of the folder. Put the video in it.")
        row = rows.setdefault(row["video"], row)
        row["captions"].append(caption)
        row["query_types"].append(kind)
        row["moments"].append(check_moments(f"{metadata}, line {number}", moments))
    return list(rows.values())
