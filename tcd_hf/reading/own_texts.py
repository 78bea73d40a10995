"""Texts that a video comes with, beside those that are read in its pictures: given ones, and subtitles."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from tcd_hf.processing.heartbeat import beat
from tcd_hf.processing.ocr_engines import normalize_text
from tcd_hf.processing.text_tracks import WHOLE_FRAME, TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.files import VIDEO_EXTENSIONS, absolute_path
from tcd_hf.reading.text_files import EXTENSIONS, Cue, check_cue, dialogue_text, read_cues

__all__ = [
    "NO_TEXTS",
    "OwnTexts",
    "add_texts",
    "check_texts",
    "embedded_subtitles",
    "find_texts",
    "has_subtitles",
    "side_cars",
    "subtitles_beside",
]

SIDE_CARS = (".srt", ".vtt")


@dataclass(frozen=True)
class OwnTexts:
    """What one video comes with.

    Attributes:
        cues (`tuple[Cue, ...]`): with times of the video.
        with_embedded (`bool`): whether the text streams inside the file are taken too, when it is read.
    """

    cues: tuple[Cue, ...] = ()
    with_embedded: bool = False

    @cached_property
    def digest(self) -> str:
        """What tells these from others; empty for none."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest() if self != NO_TEXTS else ""

    def to_json(self) -> str:
        """All of it as JSON."""
        return json.dumps([self.with_embedded, *map(astuple, self.cues)])

    @classmethod
    def from_json(cls, text: str) -> "OwnTexts":
        """The inverse of [`~OwnTexts.to_json`]."""
        with_embedded, *cues = json.loads(text)
        return cls(tuple(Cue(*values) for values in cues), with_embedded)

    def all_of(self, path: str | os.PathLike) -> list[Cue]:
        """The texts of a file, those inside it included."""
        inside = embedded_subtitles(path) if self.with_embedded else ()
        return list(dict.fromkeys([*self.cues, *inside]))  # the same lines may lie beside a file and in it


NO_TEXTS = OwnTexts()


def check_texts(texts: Mapping[str | os.PathLike, Iterable[Any]], paths: Iterable[str]) -> dict[str, OwnTexts]:
    """What a user gives as `texts`, by absolute path.

    Args:
        texts (`Mapping`): for each video its texts, each `(start, end, text)`, a [`Cue`], or an [`OwnTexts`] of all.
        paths (`Iterable[str]`): of the videos, absolute.

    Raises:
        ValueError: a text that is none, or of a video that is not among them.
    """
    known = set(paths)
    checked = {}
    for name, entries in texts.items():
        path = absolute_path(name)
        if path not in known:
            raise ValueError(f"texts are given for {path}, which is not among the videos: name it as they are named.")
        if not isinstance(entries, OwnTexts):
            cues = [
                check_cue(entry, "given", f"Text {number} of {path}") for number, entry in enumerate(entries, start=1)
            ]
            for number, cue in enumerate(cues, start=1):
                if cue.start == cue.end:
                    raise ValueError(f"Text {number} of {path} lasts no time, {cue.start} to {cue.end}: let it last.")
            entries = OwnTexts(tuple(cues))
        checked[path] = entries
    return checked


def add_texts(captions: Sequence[WindowCaption], cues: Sequence[Cue]) -> list[WindowCaption]:
    """Captions with further texts, each in every window that it overlaps, after those that were read there.

    Args:
        captions (`Sequence[WindowCaption]`): of windows, in the order of time.
        cues (`Sequence[Cue]`): seconds of the same video.
    """
    if not cues:
        return list(captions)
    told = []
    first, last = captions[0].start, captions[-1].end
    cues = [cue for cue in cues if cue.start < last and first < cue.end]
    for caption in captions:
        tracks = [track for cue in cues if (track := _track(cue, caption)) is not None]
        text = " ".join(filter(None, (caption.text, *(track.text for track in tracks))))
        told.append(WindowCaption(caption.start, caption.end, text, [*caption.tracks, *tracks]))
    return told


def find_texts(folder: Path, videos: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The files of texts of videos: of the same stem, `.srt`, `.vtt` or `.json`, anywhere below a folder.

    Of several for one video, the one whose subfolders are those of the video counts (as [`tcd-hf export`] writes them);
    then `.srt` before `.vtt` before `.json`, and the first by name. A name with the ending of the video, `a.mp4.srt`,
    goes before `a.srt`. Of several videos of one stem, a file is that of the one in whose subfolders it lies.

    Args:
        folder (`Path`): where to look.
        videos (`Sequence[str]`): absolute paths.

    Yields:
        The path of a video and a file, of those videos that have one.

    Raises:
        NotADirectoryError: there is no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"There is no folder {folder} with texts.")
    files: dict[str, list[Path]] = {}
    found_files = [file for file in folder.absolute().rglob("*") if file.suffix.lower() in EXTENSIONS]
    for file in sorted(found_files, key=lambda file: (EXTENSIONS.index(file.suffix.lower()), file)):
        if file.is_file():
            files.setdefault(file.stem, []).append(file)
    found: dict[Path, list[tuple[int, str]]] = {}
    for video in videos:
        path = Path(video)
        fitting = files.get(path.name) or files.get(path.stem)
        if fitting:
            file = max(fitting, key=lambda file: _shared_folders(file, path))
            found.setdefault(file, []).append((_shared_folders(file, path), video))
    for file, videos_of in found.items():
        most = max(shared for shared, _ in videos_of)
        yield from ((video, file) for shared, video in videos_of if shared == most)


def side_cars(video: str | os.PathLike) -> list[Path]:
    """Files of subtitles beside a video: `a.srt`, `a.en.vtt` of `a.mp4`; not `a.b.srt` where `a.b.mp4` is.

    Raises:
        OSError: its folder cannot be read.
    """
    path = Path(video)
    files = [file for file in path.parent.iterdir() if file.name.startswith(path.stem)]
    others = [file.stem for file in files if file.suffix.lower() in VIDEO_EXTENSIONS and file.stem != path.stem]

    def is_of(stem: str, name: str) -> bool:
        return name == stem or name.startswith(f"{stem}.")

    return sorted(
        file
        for file in files
        if file.suffix.lower() in SIDE_CARS
        and is_of(path.stem, file.stem)
        and not any(is_of(other, file.stem) for other in others if len(other) > len(path.stem))
    )


def has_subtitles(path: str | os.PathLike) -> bool:
    """Whether there is a stream of subtitles inside a file; none where it cannot be opened, which its reader tells."""
    from tcd_hf.processing.video_files import Source, open_container
    from tcd_hf.processing.video_reading import VideoReadError

    try:
        container, _ = open_container(Source.locate(path), any_size=True)
    except (VideoReadError, OSError):
        return False
    with container:
        return len(container.streams.subtitles) > 0


def embedded_subtitles(path: str | os.PathLike) -> list[Cue]:
    """The text streams inside a file, with times from its first frame on; those that are pictures have no text.

    Where the clock of the file starts again in the middle, its texts stay with the frames.

    Raises:
        VideoReadError: the file cannot be opened.
    """
    from tcd_hf.processing.packets import Packets
    from tcd_hf.processing.video_files import Source, clock_start, open_container, read_errors

    container, video = open_container(Source.locate(path), any_size=True)
    with container:
        streams = [stream for stream in container.streams.subtitles if stream.codec_context is not None]
        if not streams:
            return []
        found: list[tuple[int, Cue]] = []
        packets = Packets.read(_pictures(container, video, streams, found), video, read_errors())
        if not packets.pts:
            return []
        axis, second = packets.on_one_axis(container, video), 1 / video.time_base
        zero = clock_start(video) if axis.shifts is None else float(axis.times.min() / second)
        shifts = [float(axis.shift_at(float(cue.start * second), number) / second) - zero for number, cue in found]
    cues = [
        replace(cue, start=cue.start + shift, end=cue.end + shift)
        for (_, cue), shift in zip(found, shifts, strict=True)
    ]
    return list(dict.fromkeys(cues))


def _pictures(container: Any, video: Any, streams: list, found: list[tuple[int, Cue]]) -> Iterator[Any]:
    """The packets of the video, as far as a file can be read. What is `found` beside them, with times of the file, has
    the number of those before it."""
    from av.error import FFmpegError

    number, wanted = 0, {stream.index for stream in streams}
    try:
        # A film may go on for long between two lines, which is a sign that it is read.
        for packet in container.demux([video, *streams]):
            beat()
            if packet.stream.index in wanted:
                found += [(number, cue) for cue in _cues(packet)]
            else:
                yield packet
                number += packet.size > 0
    except FFmpegError:  # it breaks off: the pictures are read as far as they go, too
        return


def _cues(packet: Any) -> list[Cue]:
    from av.error import FFmpegError

    if packet.pts is None or not packet.duration:
        return []
    try:
        texts = [getattr(part, "dialogue", b"") for part in packet.decode()]
    except FFmpegError:  # one broken line
        return []
    start, end = (float(ticks * packet.time_base) for ticks in (packet.pts, packet.pts + packet.duration))
    texts = [dialogue_text(text.decode("utf-8", "replace")) for text in texts if text]
    return [Cue(start, end, text, "subtitle") for text in texts if text]


def subtitles_beside(video: str | os.PathLike) -> list[Cue]:
    """The texts of all [`side_cars`]. Raises what [`read_cues`] does."""
    return [cue for file in side_cars(video) for cue in read_cues(file, "subtitle")]


def _track(cue: Cue, caption: WindowCaption) -> TextTrack | None:
    start, end = max(cue.start, caption.start), min(cue.end, caption.end)
    if end <= start or not (text := normalize_text(cue.text)):
        return None
    return TextTrack(text, 1.0, start, end, WHOLE_FRAME, box_time=(start + end) / 2, source=cue.source)


def _shared_folders(file: Path, video: Path) -> int:
    """How many folders, from the innermost on, have the same names."""
    pairs = zip(reversed(file.parent.parts), reversed(video.parent.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
