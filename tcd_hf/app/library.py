"""What the page may show of an index: its clips, found by sentences or by their ids, and nothing else on the disk."""

import logging
import math
import os
import re
import stat
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tcd_hf.app.metrics import Metrics
from tcd_hf.app.search_processes import OwnSearches
from tcd_hf.app.transcripts import Transcript, Transcripts
from tcd_hf.choices import DEFAULT_WITHIN, SearchMode
from tcd_hf.index.fusing import Fusion
from tcd_hf.index.schema import IndexDamagedError, IndexMismatchError
from tcd_hf.index.storage import FIRST_SEGMENTS, sql_list, sql_string
from tcd_hf.processing.text_tracks import SOURCES
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.files import file_stamp, hash_file

if TYPE_CHECKING:
    from tcd_hf.app.search_processes import SearchProcesses
    from tcd_hf.index.hits import Hit
    from tcd_hf.index.moments import Moment
    from tcd_hf.index.searching import SearchableIndex

__all__ = ["Clip", "ClipError", "Library", "is_example", "sql_filter"]

logger = logging.getLogger(__name__)

CLIP_COLUMNS = ["id", "path", "content_hash", "size", "modified", "duration"]
TOUCHING = 0.01  # seconds between a time and a segment that it belongs to, for rounding
MAX_SECONDS = 1e9  # of a filter: 31 years
FILTER_CHARACTERS = 50_000  # of paths in one filter, which may have twice as many
CALM_SECONDS = 1.0  # after a search, in which work in the background waits: the next letter may be typed already
EXAMPLE_SEGMENTS = 50  # that example queries are drawn from
EXAMPLE_ROWS = 5000  # among which these are chosen: of as many videos as there are
EXAMPLE_LENGTH = (6, 32)  # characters
EXAMPLE_CONFIDENCE = 0.9


class ClipError(Exception):
    """A clip of the index that cannot be shown, and why, for the reader."""


@dataclass(frozen=True)
class Clip:
    """A video of the index.

    Attributes:
        id (`str`): see [`video_id`], 24 hexadecimal digits.
        path (`str`): absolute.
        content_hash (`str`): see [`hash_file`].
        size (`int`): bytes, when it was indexed.
        modified (`int`): see [`VideoRecord`].
        duration (`float`): seconds.
        has_text (`bool`): whether text was read in it, in any of its segments.
    """

    id: str
    path: str
    content_hash: str
    size: int
    modified: int
    duration: float
    has_text: bool

    @property
    def title(self) -> str:
        """Its file name."""
        return os.path.basename(self.path)


class Library:
    """An index as several people use it at once. All methods may be called from any thread.

    Searches wait for each other, see [`OwnSearches`] and [`SearchProcesses`]. Whatever else is read waits for none.

    Args:
        index ([`VideoIndex`] or [`JointIndex`]): opened with its model and processor.
        searches ([`SearchProcesses`], *optional*): who searches; this process by default.

    Attributes:
        metrics ([`Metrics`]): its counters.
        ready (`threading.Event`): set once what a search needs has been loaded.
    """

    def __init__(self, index: "SearchableIndex", searches: "SearchProcesses | None" = None):
        self.index = index
        self.searches = searches or OwnSearches(index)
        self.metrics = Metrics(index)
        self.ready = threading.Event()
        self._counting = threading.Lock()
        self._under_way = 0  # searches
        self._has_failed = False  # the last search, by no fault of its query
        self._last_search = -math.inf
        self._same: dict[tuple[str, str], tuple[int, ...]] = {}
        self._transcripts = Transcripts(index.captions_of)

    def search(
        self, query: str, mode: SearchMode, top_k: int, where: str | None, within: float = DEFAULT_WITHIN
    ) -> "list[Hit]":
        """See [`VideoIndex.search`]; reads quotes, exclusions, `OR` and `>>`. An empty index has no hits."""
        with self._searching("search"):
            if not len(self.index):
                return []
            options = {"top_k": top_k, "mode": mode, "where": where, "within": within}
            return self.searches.call("search", query, syntax="query", **options)

    def try_search(self, query: str, mode: SearchMode = "two-stage") -> None:
        """A search that nobody asked for, and that is in no counter: to load what others need, or to see whether it
        can be done."""
        with self._searching():
            if len(self.index):
                self.searches.call("search", query, top_k=1, mode=mode)

    def tells_weak(self, mode: SearchMode) -> bool:
        """See [`Fusion.tells_weak`]."""
        return Fusion.of(self.index.model.config, self.index.lexical_weight).tells_weak(mode)

    def moments(self, query: str, clip: Clip, within: float = DEFAULT_WITHIN) -> "list[Moment]":
        """See [`VideoIndex.moments`]; none for a query that cannot be searched for, or a clip that was just removed.

        Raises:
            ClipError: the index is damaged.
        """
        try:
            with self._searching("moments"):
                return self.searches.call("moments", query, clip.path, syntax="query", within=within)
        except IndexDamagedError as error:  # a ValueError too
            raise ClipError(str(error)) from error
        except ValueError:  # told where one searches
            return []

    def can_search(self) -> bool:
        """Whether it can, as far as is known: what a search needs is loaded, the index is there, and the last search
        was answered or refused; if it was not, one more tells. Why it cannot is in the log."""
        if not self.ready.is_set():
            return False
        try:
            if len(self.index) and self._has_failed:
                self.try_search("a", "lexical")
        except Exception as error:  # whatever a library raises
            logger.warning("The index cannot be searched: %s", error)
            return False
        return True

    @contextmanager
    def _searching(self, kind: str | None = None) -> Iterator[None]:
        """Takes note of a search, and of how it ends; counts those of a kind."""
        with self._counting:
            self._under_way += 1
        try:
            with nullcontext() if kind is None else self.metrics.timed(kind):
                yield
            self._has_failed = False
        except Exception as error:
            if _is_fault(error):
                self._has_failed = True
                if kind is not None:
                    self.metrics.errors.labels(kind).inc()
            raise
        finally:
            with self._counting:
                self._under_way -= 1
            self._last_search = time.monotonic()

    def wait_for_calm(self, stop: threading.Event) -> None:
        """Returns when nobody has searched for a moment, or when told to stop."""
        while time.monotonic() - self._last_search < CALM_SECONDS or self._under_way:
            if stop.wait(CALM_SECONDS / 4):
                return

    def __len__(self) -> int:
        """How many videos there are."""
        return len(self.index)

    def clips(self, ids: Iterable[str]) -> dict[str, Clip]:
        """Clips by their ids: those asked for that the index has."""
        if not (ids := list(ids)):
            return {}
        rows = self.index.read(CLIP_COLUMNS, f"{FIRST_SEGMENTS} AND id IN {sql_list(ids)}")
        return {clip.id: clip for clip in self._clips_of(rows)}

    def first_clips(self, count: int) -> list[Clip]:
        """The clips that were added first."""
        return self._clips_of(self.index.read(CLIP_COLUMNS, FIRST_SEGMENTS, limit=count))

    def clip(self, clip_id: str) -> Clip:
        """The clip of an id.

        Raises:
            ClipError: the index has none.
        """
        found = self.clips([clip_id]) if re.fullmatch("[0-9a-f]{24}", clip_id) else {}
        if not found:
            raise ClipError("This clip is not in the index.")
        return found[clip_id]

    def captions(self, clip: Clip, around: float | None = None) -> list[WindowCaption]:
        """What was read in each window of a clip, in the order of time.

        Args:
            clip ([`Clip`]): the clip.
            around (`float`, *optional*): seconds; only the windows of segments that touch this time, if there are any.
        """
        near = None
        if around is not None and 0 <= around <= clip.duration:
            near = self.index.captions_of(clip.path, (around - TOUCHING, around + TOUCHING))
        return near or self.index.captions_of(clip.path)

    def transcript(self, clip: Clip) -> Transcript:
        """What was read in a clip, each text once for as long as it is seen."""
        return self._transcripts.get(clip.path, self.index.version)

    def check(self, clip: Clip) -> None:
        """Makes sure that a clip's file still is what was indexed, whatever has come to stand at its path.

        Size and time stamps are those of its row, or else its content is: a copy may have other stamps, and is hashed
        once.

        Raises:
            ClipError: the file is gone, or another.
        """
        try:
            status, stamp = os.stat(clip.path), file_stamp(clip.path)
        except (OSError, ValueError) as error:
            raise ClipError(
                "The file is no longer where it was when it was indexed. Put it back, or index it where it is now."
            ) from error
        key = (clip.id, clip.content_hash)
        if stat.S_ISREG(status.st_mode) and stamp.size == clip.size:
            if stamp.modified == clip.modified or self._same.get(key) == tuple(stamp):
                return
            if hash_file(clip.path) == clip.content_hash:
                self._same[key] = tuple(stamp)
                return
        raise ClipError("The file has changed since it was indexed. Index it again to see it.")

    def example_queries(self, count: int = 5) -> list[str]:
        """Texts that were read in clips of the index: words in a good reading, one text per segment, of as many
        clips as there are."""
        rows = self.index.read(["id", "path"], "has_text", limit=EXAMPLE_ROWS)
        ids = [row["id"] for row in _spread(rows.to_pylist())[:EXAMPLE_SEGMENTS]]
        if not ids:
            return []
        rows = self.index.read(["id", "captions"], f"id IN {sql_list(ids)}").to_pylist()
        captions_of = {row["id"]: row["captions"] for row in rows}
        examples: dict[str, str] = {}
        for captions in (captions_of[row_id] for row_id in ids if row_id in captions_of):
            tracks = (track for window in captions for track in window["tracks"])
            if text := next((track["text"] for track in tracks if is_example(track["text"], track["confidence"])), ""):
                examples.setdefault(text.casefold(), text)
        return list(examples.values())[:count]

    def _clips_of(self, rows: pa.Table) -> list[Clip]:
        """Clips of the rows of first segments."""
        if not len(rows):
            return []
        with_text: set[str] = set()
        for paths in _in_parts(rows["path"].to_pylist()):
            found = self.index.read(["path"], f"has_text AND path IN {sql_list(paths)}")
            with_text.update(found["path"].to_pylist())
        return [Clip(**row, has_text=row["path"] in with_text) for row in rows.to_pylist()]


def sql_filter(
    min_seconds: float | None = None,
    max_seconds: float | None = None,
    only_with_text: bool = False,
    path_contains: str = "",
    text_from: str = "",
) -> str | None:
    """The filter of a search, as SQL in which nothing that a user typed is code.

    Args:
        min_seconds, max_seconds (`float`, *optional*): bounds of the duration, both allowed values; 0 is none.
        only_with_text (`bool`, *optional*, defaults to `False`): only videos in which text was read.
        path_contains (`str`, *optional*, defaults to `""`): part of the path, in upper or lower case.
        text_from (`str`, *optional*, defaults to `""`): only where there is text that was read in the
            pictures, `"ocr"`, or is of a `"subtitle"`, or was `"given"`; `""` is any.

    Returns:
        `str`, *optional*: `None` when every video passes.

    Raises:
        ValueError: a duration that is no number from 0 on, bounds the wrong way round, a part of a path that is no text
            or cannot be printed, a source that there is none of. Values may be of any type: they come from outside.
    """
    conditions = []
    for name, sign, seconds in (("shortest", ">=", min_seconds), ("longest", "<=", max_seconds)):
        if not seconds:
            continue
        if not (isinstance(seconds, int | float) and 0 < seconds < MAX_SECONDS):
            raise ValueError(f"The {name} duration must be a number of seconds from 0 on, got {seconds}.")
        conditions.append(f"duration {sign} {float(seconds):.6f}")
    if min_seconds and max_seconds and min_seconds > max_seconds:
        raise ValueError(f"The shortest duration, {min_seconds} s, is above the longest, {max_seconds} s.")
    if only_with_text:
        conditions.append("has_text")
    if path_contains:
        if not isinstance(path_contains, str):
            raise ValueError(f"The part of the path must be a text, got {path_contains!r}.")
        if not path_contains.isprintable():
            raise ValueError("The part of the path holds a character that cannot be printed: leave it out.")
        conditions.append(
            f"contains(lower(path), {sql_string(path_contains.lower())})"
        )  # not LIKE, in which % and _ mean something
    if text_from:
        if text_from not in SOURCES:
            raise ValueError(f"text_from must be one of {', '.join(SOURCES)}, got {text_from!r}.")
        conditions.append(f"contains(sources, {sql_string(text_from)})")
    return " AND ".join(conditions) or None


def _is_fault(error: Exception) -> bool:
    """Whether a search failed by no fault of what was asked for."""
    return not isinstance(error, ValueError) or isinstance(error, IndexDamagedError | IndexMismatchError)


def _in_parts(paths: Iterable[str]) -> Iterator[list[str]]:
    """Paths in parts that a filter takes, however long they are."""
    part: list[str] = []
    characters = 0
    for path in paths:
        length = len(sql_string(path)) + 2  # with the comma
        if part and characters + length > FILTER_CHARACTERS:
            yield part
            part, characters = [], 0
        part.append(path)
        characters += length
    if part:
        yield part


def _spread(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in an order in which those of one path stand far apart: first the first of every path."""
    seen: Counter[str] = Counter()
    ordinals = []
    for row in rows:
        ordinals.append(seen[row["path"]])
        seen[row["path"]] += 1
    return [rows[number] for number in sorted(range(len(rows)), key=ordinals.__getitem__)]


def is_example(text: str, confidence: float) -> bool:
    """Tells whether somebody may want to look for a text: a few words, well read, hardly anything else."""
    shortest, longest = EXAMPLE_LENGTH
    words = text.split()
    return (
        confidence >= EXAMPLE_CONFIDENCE
        and shortest <= len(text) <= longest
        and len(words) == len(set(words)) >= 2
        and sum(map(str.isalpha, text)) >= 0.6 * len(text)
        and re.fullmatch(r"\w[\w .:'&-]*\w", text) is not None
    )
