"""From segments that were read to rows of an index, and from these to videos: what engines do after reading."""

from collections.abc import Sequence

import pyarrow as pa

from tcd_hf.index.features import compute_features
from tcd_hf.index.ingest import Ingest
from tcd_hf.index.progress import VideoProgress
from tcd_hf.index.schema import NonFiniteFeaturesError, rows_from
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.reading.video_reader import ReadSegment, SkippedVideo, describe_error

__all__ = ["BegunVideos", "encode_segments"]


def encode_segments(
    model: TCDModel, batch: Sequence[ReadSegment], padding_side: str, schema: pa.Schema
) -> list[pa.Table | SkippedVideo]:
    """Encodes segments at once.

    Args:
        model (`TCDModel`): in evaluation mode.
        batch (`list[ReadSegment]`): the segments, with their inputs; at least one.
        padding_side (`"right"` or `"left"`): of the tokenizer.
        schema (`pa.Schema`): of the index's table.

    Returns:
        `list`: for each segment its row, or why its video cannot be stored.
    """
    features = compute_features(model, [read.inputs for read in batch], padding_side)
    rows: list[pa.Table | SkippedVideo] = []
    for number, read in enumerate(batch):
        own = features.map_videos(lambda values, number=number: values[number : number + 1])
        try:
            rows.append(rows_from([read.record], own, schema))
        except NonFiniteFeaturesError as error:
            rows.append(SkippedVideo(read.record.path, describe_error(read.record.path, error)))
    return rows


class BegunVideos:
    """Rows of videos of which more are to come: an ingest gets all of a video at once.

    Args:
        ingest ([`Ingest`]): is told of progress, and takes what is whole.
    """

    def __init__(self, ingest: Ingest):
        self.ingest = ingest
        self._rows: dict[str, dict[int, pa.Table]] = {}
        self._seconds: dict[str, float] = {}
        self._skipped: set[str] = set()

    def add(self, read: ReadSegment, row: pa.Table) -> bool:
        """Takes the row of a segment. Returns whether it was the last of its video."""
        record = read.record
        if record.path in self._skipped:
            return False
        rows = self._rows.setdefault(record.path, {})
        rows[record.segment] = row
        seconds = self._seconds.get(record.path, 0.0) + record.end - record.start
        self._seconds[record.path] = seconds
        self.ingest.on_progress(VideoProgress(record.path, seconds, record.duration, record.size))
        if len(rows) == read.num_segments:
            del self._rows[record.path], self._seconds[record.path]
            self.ingest.keep(record.path, pa.concat_tables(rows[number] for number in sorted(rows)))
            return True
        self.ingest.commit_if_due()
        return False

    def skip(self, video: SkippedVideo) -> None:
        """Takes note that a video cannot be read; what there is of it is dropped."""
        self._rows.pop(video.path, None)
        if video.path not in self._skipped:
            self._skipped.add(video.path)
            self.ingest.skip(video)
