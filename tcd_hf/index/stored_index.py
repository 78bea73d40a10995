"""What is in an index: to be listed and read, for which no model is needed."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute

from tcd_hf.index.conditions import check_condition
from tcd_hf.index.damage import reporting
from tcd_hf.index.schema import IndexMetadata
from tcd_hf.index.storage import FIRST_SEGMENTS, IndexStorage, sql_list
from tcd_hf.index.stored_captions import captions_from, captions_in_order, decode_captions
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.files import absolute_path

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

    from tcd_hf.index.damage import Damage
    from tcd_hf.reading.text_files import Cue

__all__ = ["IndexStats", "StoredIndex"]

pc: Any = pyarrow.compute  # makes its functions when it is imported


@dataclass(frozen=True)
class IndexStats:
    """What an index holds.

    Attributes:
        videos (`int`): number of videos.
        videos_with_text (`int`): of those, in how many text was read.
        segments (`int`): rows, into which they are cut.
        seconds_of_video (`float`): their durations, added up.
        bytes_on_disk (`int`, *optional*): of all its files, old versions included; `None` on an object store.
        dim (`int`): width of the embeddings.
        num_frames (`int`): frames and windows per segment.
        segment_seconds (`float`): the longest that a segment may be.
        model (`str`): what its model is loaded by: a folder, a Hub id, `"tcd-mini"`; empty if that is unknown.
        model_fingerprint (`str`): what tells that model from others.
        schema_version (`int`): of its columns.
    """

    videos: int
    videos_with_text: int
    segments: int
    seconds_of_video: float
    bytes_on_disk: int | None
    dim: int
    num_frames: int
    segment_seconds: float
    model: str
    model_fingerprint: str
    schema_version: int


class StoredIndex:
    """The part of a [`VideoIndex`] that needs no model.

    Args:
        storage ([`IndexStorage`]): the index, opened.
    """

    def __init__(self, storage: IndexStorage):
        self._storage = storage

    def __len__(self) -> int:
        return self._latest().count(FIRST_SEGMENTS)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r}, {len(self)} videos)"

    @property
    def uri(self) -> str:
        """Where the index is."""
        return self._storage.uri

    @property
    def metadata(self) -> IndexMetadata:
        """What the index is made by."""
        return self._storage.metadata

    @property
    def version(self) -> int:
        """A number that grows with every change of the index, whoever makes it."""
        return self._latest().version

    @property
    def paths(self) -> list[str]:
        """Paths of the videos, absolute, in the order of the columns of [`~VideoIndex.score`]."""
        return list(dict.fromkeys(self._latest().read(["path"])["path"].to_pylist()))

    @property
    def captions(self) -> list[list[WindowCaption]]:
        """Captions of the videos, one per window of all their segments in the order of time; videos in the order of
        [`~VideoIndex.paths`]."""
        rows = self._latest().read(["path", "segment", "captions"])
        segments: dict[str, dict[int, list[WindowCaption]]] = {}
        paths, numbers = rows["path"].to_pylist(), rows["segment"].to_pylist()
        for path, number, captions in zip(paths, numbers, captions_from(rows["captions"]), strict=True):
            segments.setdefault(path, {})[number] = captions
        return [[caption for number in sorted(parts) for caption in parts[number]] for parts in segments.values()]

    @property
    def errors(self) -> dict[str, str]:
        """Why files could not be read when they were last tried, by path; empty on an object store without the extra
        `s3`."""
        return self._storage.read_errors()

    def read(self, columns: Iterable[str], where: str | None = None, limit: int | None = None) -> "pa.Table":
        """Columns of the rows, which are segments, in the order of the table.

        Args:
            columns (`Iterable[str]`): names, see `tcd_hf.index.schema.table_schema`. Captions come as lists of structs.
            where (`str`, *optional*): a filter as of [`~VideoIndex.search`].
            limit (`int`, *optional*): rows at most, the first ones; all by default.

        Raises:
            ValueError: a filter that is none, see [`~VideoIndex.search`], or a column that there is none of.
            IndexDamagedError: the files cannot be read.
            OSError: they may not be read, or are out of reach.
        """
        storage, columns = self._latest(), list(columns)
        known = [*storage.column_names, "_rowid"]
        for unknown in set(columns).difference(known):
            raise ValueError(f"There is no column {unknown!r}: columns are {', '.join(known)}.")
        condition = None if where is None else check_condition(where)
        return decode_captions(storage.read(columns, condition, limit))

    def captions_of(self, path: str | os.PathLike, between: tuple[float, float] | None = None) -> list[WindowCaption]:
        """Captions of one video, one per window of its segments in the order of time.

        Args:
            path (`str | os.PathLike`): of the video.
            between (`tuple[float, float]`, *optional*): only those of segments that are, in part, between two times,
                in seconds; infinite ones leave a side open.

        Returns:
            `list[WindowCaption]`, empty for a video that the index does not have.
        """
        conditions = [f"path IN {sql_list([absolute_path(path)])}"]
        if between is not None:
            limits = (('"start" <=', between[1]), ('"end" >=', between[0]))
            conditions += [f"{side} {seconds:.6f}" for side, seconds in limits if math.isfinite(seconds)]
        return captions_in_order(self._latest().read(["segment", "captions"], " AND ".join(conditions)))

    def transcript(self, path: str | os.PathLike) -> "list[Cue]":
        """The texts of a video, each once for as long as it is seen, see [`transcript`].

        Args:
            path (`str | os.PathLike`): of the video.

        Raises:
            ValueError: the index does not have it.
        """
        from tcd_hf.index.transcript import transcript

        captions = self.captions_of(path)
        if not captions:  # a video has windows, even one without any text
            raise ValueError(
                f"The index {self.uri} has no video {absolute_path(path)!r}: `tcd-hf list` names those it has."
            )
        return transcript(captions)

    def stats(self) -> IndexStats:
        """Counts what the index holds."""
        rows = self._latest().read(["path", "segment", "duration", "has_text"])
        videos = rows.filter(pc.equal(rows["segment"], 0))
        return IndexStats(
            videos=len(videos),
            videos_with_text=pc.count_distinct(rows.filter(rows["has_text"])["path"]).as_py(),
            segments=len(rows),
            seconds_of_video=pc.sum(videos["duration"]).as_py() or 0.0,
            bytes_on_disk=self._storage.bytes_on_disk(),
            dim=self.metadata.dim,
            num_frames=self.metadata.num_frames,
            segment_seconds=self.metadata.segment_seconds,
            model=self.metadata.model_name,
            model_fingerprint=self.metadata.model_fingerprint,
            schema_version=self.metadata.schema_version,
        )

    def export_dataset(self) -> "datasets.Dataset":
        """Gives the index as a data set with a row per segment, without the features for scoring.

        Columns: `path`, `content_hash`, `duration` (seconds) and `fps` of the file, `segment` (its number), `start` and
        `end` (seconds in the file), `captions` (a list of `start`, `end`, `text` and `tracks`, see [`WindowCaption`]),
        `coarse` (the vector for recall).
        """
        import datasets

        of_file, of_segment = ["path", "content_hash", "duration", "fps"], ["segment", "start", "end"]
        rows = self.read([*of_file, *of_segment, "captions", "coarse"])
        if not len(rows):  # a table without any chunk, which datasets does not take
            features = datasets.Features.from_arrow_schema(rows.schema)
            return datasets.Dataset.from_dict({name: [] for name in rows.column_names}, features=features)
        return datasets.Dataset(rows.replace_schema_metadata(None))

    def check(self) -> "list[Damage]":
        """Verifies all rows, by their checksums, and what is made from them; nothing is changed. Size, time stamp and
        frame rate of a file are in no checksum: they must be the same in all of its rows.

        All is read, so it takes as long as the files take to be read, and about a millisecond a segment. A search does
        the same for the rows that it shows.

        Returns:
            `list[Damage]`: what is damaged, each with its `part`, a `detail` and the `paths` of videos; empty if
            nothing is. See [`~VideoIndex.repair`].

        Raises:
            IndexMismatchError: the folder of the index is gone.
            IndexDamagedError: the table cannot be opened at all.
            OSError: the files may not be read, or are out of reach.
        """
        from tcd_hf.index.verification import find_damage

        storage = self._latest()
        with reporting(storage, "rows"):  # what cannot be reached is not damaged, nor known to be whole
            return find_damage(storage)

    def _latest(self) -> IndexStorage:
        return self._storage.update_version()
