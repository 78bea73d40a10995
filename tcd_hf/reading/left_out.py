"""What a search for videos in folders leaves out, and why: nothing is passed over in silence."""

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["SOMETIMES_VIDEOS", "LeftOut", "describe_left_out", "kind_of_no_video"]

# Endings of pictures that may move, and of sound that may come with pictures.
SOMETIMES_VIDEOS = frozenset((".apng", ".gif", ".ogg", ".webp"))
# How the first packet of a video begins in Ogg: Theora, VP8, Dirac, and what OGM holds.
OGG_VIDEOS = (b"\x80theora", b"OVP80", b"BBCD\0", b"\x01video")
HEAD_BYTES = 4096  # of an Ogg file, where each of its streams begins
KINDS_SHOWN = 6


class LeftOut(NamedTuple):
    """A file, or a hidden folder, that is not taken for a video.

    Attributes:
        path (`str`): beginning with the folder that was searched.
        kind (`str`): its ending, such as `".jpg"`; `"still .webp"`, `"sound .ogg"`, `"hidden"` or `"without ending"`.
    """

    path: str
    kind: str


def kind_of_no_video(path: str, endings: Iterable[str]) -> str | None:
    """
    What a file is that is no video, by its ending, and by its first bytes where that leaves it open.

    Args:
        path (`str`): a file that is there.
        endings (`Iterable[str]`): those of videos, lower case, with their dot.

    Returns:
        `str`, a `kind` of [`LeftOut`]; `None` for a video, and for what cannot be read: its reader says why.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in endings:
        return ending or "without ending"
    if ending not in SOMETIMES_VIDEOS or not os.path.isfile(path):
        return None
    if ending == ".ogg":
        return None if _holds_video(path) else "sound .ogg"
    return None if _may_move(path) else f"still {ending}"


def describe_left_out(left_out: Iterable[LeftOut]) -> str:
    """One line, such as `"Left out 12 files that are no videos: 8 .jpg, 3 .txt, 1 still .webp"`; empty for none."""
    kinds = Counter(file.kind for file in left_out)
    if not kinds:
        return ""
    shown = kinds.most_common(KINDS_SHOWN)
    rest = kinds.total() - sum(count for _, count in shown)
    named = ", ".join([*(f"{count} {kind}" for kind, count in shown), *([f"{rest} others"] if rest else [])])
    what = "1 file that is no video" if kinds.total() == 1 else f"{kinds.total()} files that are no videos"
    return f"Left out {what}: {named}"


def _holds_video(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return True
    return not head.startswith(b"OggS") or any(mark in head for mark in OGG_VIDEOS)


def _may_move(path: str) -> bool:
    from PIL import Image  # here, as few folders have such files

    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # of a large one
            return getattr(image, "n_frames", 1) > 1
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return True
