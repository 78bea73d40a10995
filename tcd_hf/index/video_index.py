"""An index of videos that lasts: on disk or in an object store, filled step by step, searched by sentences."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow.compute as pc

from tcd_hf.index.features import compute_features
from tcd_hf.index.hits import DEFAULT_LEXICAL_WEIGHT
from tcd_hf.index.ingest import AddReport, Ingest, LocalReading, ReadingProgress
from tcd_hf.index.moments import DEFAULT_MOMENTS
from tcd_hf.index.ordered import DEFAULT_WITHIN
from tcd_hf.index.progress import progress_bar
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.schema import (
    IndexMetadata,
    IndexMismatchError,
    captions_from,
    captions_in_order,
    decode_captions,
    table_schema,
)
from tcd_hf.index.storage import IndexStorage, sql_list
from tcd_hf.loading import READING_OPTIONS, load_for_index
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.cache import CaptionCache
from tcd_hf.reading.files import absolute_path, absolute_paths
from tcd_hf.reading.fingerprints import (
    all_fingerprints,
    frame_fingerprint,
    model_fingerprint,
    model_name,
    tokenizer_fingerprint,
)
from tcd_hf.reading.own_texts import check_texts
from tcd_hf.reading.segments import DEFAULT_SEGMENT_SECONDS, check_segment_seconds
from tcd_hf.reading.video_reader import VideoReader

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

    from tcd_hf.index.hits import Hit
    from tcd_hf.index.moments import Moment
    from tcd_hf.index.retrieval import IndexScores
    from tcd_hf.reading.text_files import Cue

__all__ = ["IndexStats", "VideoIndex"]

FIRST_SEGMENTS = "segment = 0"  # the rows that count videos


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


class VideoIndex:
    """Videos to search in, read and encoded once. Made by [`~VideoIndex.create`] or [`~VideoIndex.open`].

    A file is cut into equal *segments* of at most `segment_seconds`; a short clip is one. The index is a LanceDB table
    with a row per segment: its captions with their times and boxes, a full-text index on them, a vector for recall, and
    the features that exact scores are computed from. All rows of a file are written at once, so that it is in the index
    or is not. What counts and lists videos counts files; [`~VideoIndex.read`] shows segments. Nothing is written beside
    the videos.

    **Several processes.** Any number may search while one writes; each search sees the table as it was committed last
    when the search began. Of two that write to a local index, the second waits until the first is done; a process that
    dies leaves no lock behind. On an object store there is no lock: have one writer at a time there.

    **Places.** A folder, as a path or a `file://` URI, or what else LanceDB takes: `s3://bucket/path`, `gs://` and
    `az://`, with the credentials of their environment variables. `errors.jsonl` is kept in folders only.

    Example:

    ```python
    >>> model, processor = load_mini()
    >>> index = VideoIndex.create("my.index", model, processor)
    >>> report = index.add(["shop.mp4", "match.mp4"])
    >>> index.search("the store TESCO express", top_k=1)[0].evidence
    ['TESCO express']
    ```
    """

    def __init__(
        self,
        storage: IndexStorage,
        model: TCDModel | None = None,
        processor: TCDProcessor | None = None,
        cache_dir: str | os.PathLike | None = None,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        batch_size: int | None = None,
    ):
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        if not 0 <= lexical_weight <= 1:
            raise ValueError(f"lexical_weight must lie in [0, 1], got {lexical_weight}.")
        self._model, self._processor = model, processor
        self._loading = threading.Lock()
        self.cache = CaptionCache(cache_dir)
        self.lexical_weight = lexical_weight
        self.memory_budget = memory_budget
        self.batch_size = batch_size
        self._storage = storage
        self._retriever: Any = None

    @classmethod
    def create(
        cls,
        uri: str | os.PathLike,
        model: TCDModel,
        processor: TCDProcessor,
        exist_ok: bool = False,
        segment_seconds: float | None = None,
        cache_dir: str | os.PathLike | None = None,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        batch_size: int | None = None,
    ) -> "VideoIndex":
        """Makes an empty index.

        Args:
            uri (`str | os.PathLike`): where; see above. Folders are made.
            model (`TCDModel`): encodes videos and queries, on the device that it is on; put into evaluation mode.
            processor (`TCDProcessor`): reads frames and text, and makes the model's inputs.
            exist_ok (`bool`, *optional*, defaults to `False`): open the index that is there, if there is one.
            segment_seconds (`float`, *optional*, defaults to 30.0): the longest that a segment of a video may be, at
                least 1 second. It is kept in the index.
            cache_dir, lexical_weight, memory_budget, batch_size: as in [`~VideoIndex.open`].

        Raises:
            FileExistsError: there is an index, and not `exist_ok`.
            IndexMismatchError: there is one of another model, tokenizer, version or `segment_seconds`, or the folder
                holds other files.
            ValueError: an option out of its range.
        """
        seconds = check_segment_seconds(DEFAULT_SEGMENT_SECONDS if segment_seconds is None else segment_seconds)
        options = (cache_dir, lexical_weight, memory_budget, batch_size)
        storage = IndexStorage(uri)
        if not storage.exists():
            if foreign := storage.foreign_files():
                raise IndexMismatchError(
                    f"{storage.uri} is no index and not empty: it holds {foreign[0]!r}. Choose a folder of its own."
                )
            schema = _schema_for(model.eval(), processor, seconds)
            with storage.writing():
                if not storage.exists():  # another process may have been quicker
                    storage.create(schema)
                    return cls(storage, model, processor, *options)
        if not exist_ok:
            raise FileExistsError(
                f"There is an index at {storage.uri} already. Use `VideoIndex.open`, or `exist_ok=True` for either."
            )
        opened = cls.open(uri, model, processor, *options)
        if segment_seconds is not None and opened.metadata.segment_seconds != seconds:
            raise IndexMismatchError(
                f"The index {storage.uri} cuts videos into segments of at most {opened.metadata.segment_seconds:g} s, "
                f"not {seconds:g} s. Leave segment_seconds out, or make a new index in another folder."
            )
        return opened

    @classmethod
    def open(
        cls,
        uri: str | os.PathLike,
        model: TCDModel | None = None,
        processor: TCDProcessor | None = None,
        cache_dir: str | os.PathLike | None = None,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        batch_size: int | None = None,
    ) -> "VideoIndex":
        """Opens an index.

        The model and the processor that made it, if not given, are loaded when something first needs them, such as
        searching and adding: by the name that the index has for them, as [`load`] does, on the GPU where there is one.
        Text is then read as in the index; of the options of its OCR engine only those that are numbers are taken from
        there, because others may lead to files. Nothing that an index names is run.

        Args:
            uri (`str | os.PathLike`): where it is; see above.
            model (`TCDModel`, *optional*): the model that made it, on any device; put into evaluation mode.
            processor (`TCDProcessor`, *optional*): one with the tokenizer that made it; to add videos, also with the
                OCR and image processing.
            cache_dir (`str | os.PathLike`, *optional*): folder of the caption cache, see [`CaptionCache`]: text is read
                once, whatever the index, model or path.
            lexical_weight (`float`, *optional*, defaults to 0.5): `w` of the search score `(1 - w) * S + w * L`.
            memory_budget (`int`, *optional*, defaults to 4 GiB): bytes that vectors for recall may take in memory;
                above it an approximate index on disk is searched.
            batch_size (`int`, *optional*): segments that the model encodes at once; by default 8 on an accelerator, and
                1 on a CPU, for which the frames of one are enough.

        Raises:
            IndexMismatchError: no index, or one of another model, tokenizer or version; the message says what to do.
            ValueError: an option out of its range.
        """
        storage = IndexStorage(uri)
        storage.open()
        _check_makers(storage, model, processor)
        return cls(storage, model, processor, cache_dir, lexical_weight, memory_budget, batch_size)

    def __len__(self) -> int:
        return self._latest().videos.count_rows(FIRST_SEGMENTS)

    def __repr__(self) -> str:
        return f"VideoIndex({self.uri!r}, {len(self)} videos)"

    @property
    def model(self) -> TCDModel:
        """The model that made the index; loaded if it was not given."""
        return self._makers()[0]

    @property
    def processor(self) -> TCDProcessor:
        """The processor of that model; loaded if it was not given."""
        return self._makers()[1]

    @property
    def uri(self) -> str:
        """Where the index is."""
        return self._storage.uri

    @property
    def metadata(self) -> IndexMetadata:
        """What the index is made by."""
        return self._storage.metadata

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
        """Why files could not be read when they were last tried, by path; empty on an object store."""
        return self._storage.read_errors()

    def add(
        self,
        paths: Iterable[str | os.PathLike] | str | os.PathLike,
        workers: int | None = None,
        on_video: Callable[[str], None] | None = None,
        on_progress: Callable[[ReadingProgress], None] | None = None,
        texts: Mapping[str | os.PathLike, Iterable[Any]] | None = None,
    ) -> AddReport:
        """Brings videos into the index: new ones, and those whose content has changed.

        Processes decode videos and read their text; this one encodes them, and commits every so often. It may be killed
        at any moment: run again, it goes on from there. A file that cannot be read, even one that brings its process
        down, is skipped and named in the report and in `errors.jsonl`. A file whose size and time stamps are those of
        its row is not opened; one with the content of another row is not decoded.

        Args:
            paths (`Iterable[str | os.PathLike]` or one): video files, and folders, for all videos below them.
            workers (`int`, *optional*): processes that read; 0 reads in this one. By default one per core where there
                are enough files. Each takes its share of the cores (`OMP_NUM_THREADS`, if set, instead).
            on_video (`Callable[[str], None]`, *optional*): called with each absolute path when it is done.
            on_progress (`Callable[[ReadingProgress], None]`, *optional*): called after each segment that was read. If
                neither is given, a progress bar on the terminal shows seconds of video, the speed as a multiple of real
                time, and the time left.
            texts (`Mapping`, *optional*): what videos come with beside what is read in them, such as subtitles: for
                each path its texts, `(start, end, text)` in seconds. They are searched like those that are read, and
                marked by their source. Other texts than before count as a changed file; `[]` takes all away. A video
                that is not named keeps what it has, as long as its content is the same.

        Raises:
            IndexMismatchError: the processor reads text or frames otherwise than the one that made the index.
            CacheError: the cache folder cannot be written.
            OCREngineError, ImportError: the OCR engine cannot be had.
            ValueError: `workers` is negative, a text is none or of another video, or the index was opened without its
                model, and that cannot be loaded.
        """
        if workers is not None and workers < 0:
            raise ValueError(f"workers must be 0 (read in this process) or more, got {workers}.")
        self._makers()  # before others have to wait
        with self._storage.writing():
            return self._ingest(absolute_paths(paths), workers, on_video, on_progress, texts)

    def refresh(
        self,
        paths: Iterable[str | os.PathLike] | str | os.PathLike,
        workers: int | None = None,
        on_video: Callable[[str], None] | None = None,
        on_progress: Callable[[ReadingProgress], None] | None = None,
        texts: Mapping[str | os.PathLike, Iterable[Any]] | None = None,
    ) -> AddReport:
        """
        Makes the index one of these videos: as [`~VideoIndex.add`], and rows of all other paths are removed. With a
        folder it follows what becomes of the folder.

        Raises:
            FileNotFoundError: none of the paths exists, or one does not below which the index has videos: a disk that
                is not there must not empty the index.
            ValueError: there is no video at all; likewise.
        """
        paths = absolute_paths(paths)
        self._makers()  # before others have to wait
        with self._storage.writing():
            self._check_present(paths)
            # First, so that moved files take over their rows.
            report = self._ingest(paths, workers, on_video, on_progress, texts)
            gone = set(self._storage.read(["path"], FIRST_SEGMENTS)["path"].to_pylist()).difference(paths)
            report.removed = self._remove(gone, forget=set(self.errors).difference(paths))
        return report

    def remove(self, paths: Iterable[str | os.PathLike] | str | os.PathLike) -> int:
        """Removes videos by their paths; a folder stands for all below it.

        Returns:
            `int`: how many videos there were. Paths that the index does not have are ignored.
        """
        paths = [paths] if isinstance(paths, str | os.PathLike) else paths
        prefixes = tuple(absolute_path(path).rstrip("/") + "/" for path in paths)
        with self._storage.writing():
            present = self._storage.read(["path"], FIRST_SEGMENTS)["path"].to_pylist()
            gone, forget = (
                {path for path in group if (path + "/").startswith(prefixes)} for group in (present, self.errors)
            )
            return len(self._remove(gone, forget))

    def compact(self) -> None:
        """Merges the pieces that many small additions leave, and frees the space of removed and replaced rows.

        In a folder, so are the rest of killed runs and all old versions. On an object store, old versions stay for a
        week.
        """
        with self._storage.writing():
            self._storage.compact()
            self._storage.save_statistics()

    def stats(self) -> IndexStats:
        """What the index holds."""
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
        """The index as a data set with a row per segment, without the features for scoring.

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

    def read(self, columns: Iterable[str], where: str | None = None) -> "pa.Table":
        """Columns of the rows, which are segments, in the order of the table.

        Args:
            columns (`Iterable[str]`): names, see `tcd_hf.index.schema.table_schema`.
            where (`str`, *optional*): a filter as of [`~VideoIndex.search`].
        """
        return decode_captions(self._latest().read(columns, where))

    @overload
    def search(
        self,
        queries: str,
        top_k: int = ...,
        recall_k: int = ...,
        mode: str = ...,
        where: str | None = ...,
        moments: int = ...,
        between: tuple[float, float] | None = ...,
        syntax: str = ...,
        within: float = ...,
    ) -> "list[Hit]": ...

    @overload
    def search(
        self,
        queries: list[str] | tuple[str, ...],
        top_k: int = ...,
        recall_k: int = ...,
        mode: str = ...,
        where: str | None = ...,
        moments: int = ...,
        between: tuple[float, float] | None = ...,
        syntax: str = ...,
        within: float = ...,
    ) -> "list[list[Hit]]": ...

    def search(
        self,
        queries: str | Sequence[str],
        top_k: int = 10,
        recall_k: int = 50,
        mode: str = "two-stage",
        where: str | None = None,
        moments: int = DEFAULT_MOMENTS,
        between: tuple[float, float] | None = None,
        syntax: str = "plain",
        within: float = DEFAULT_WITHIN,
    ) -> "list[Hit] | list[list[Hit]]":
        """Finds the videos that match best; see [`~Retriever.search`].

        Args:
            queries (`str` or `list[str]`): what to look for.
            top_k (`int`, *optional*, defaults to 10): hits per query, best first; fewer if there are fewer videos.
            recall_k (`int`, *optional*, defaults to 50): segments that either kind of recall names to be scored
                exactly; more where these are of fewer than `top_k` videos.
            mode (`str`, *optional*, defaults to `"two-stage"`): `"two-stage"` recalls by vectors and by spelling and
                scores the candidates exactly; `"full"` scores all segments; `"coarse"` and `"lexical"` rank by one
                alone.
            where (`str`, *optional*): a filter in SQL on the columns `path`, `duration` and `fps` of the file and
                `segment`, `start`, `end`, `has_text`, `caption_text` (what is read, as it is written) and `sources` of
                its segments, such as `"duration < 60 AND has_text"`, `"lower(caption_text) LIKE '%tesco%'"` or
                `"sources LIKE '%subtitle%'"`.
            moments (`int`, *optional*, defaults to 3): further moments of a hit at most, `moments` of [`Hit`].
            between (`tuple[float, float]`, *optional*): only moments that are, in part, between two times of their
                video, in seconds; infinite ones leave a side open. A moment is then looked for in the segments that
                are in this time, and shown as far as these go.
            syntax (`str`, *optional*, defaults to `"plain"`): `"query"` reads quotes, exclusions, `OR` and `>>` as
                the command line does, see [`parse_query`].
            within (`float`, *optional*, defaults to 60.0): of `first >> then`, most seconds from the end of the first
                moment to the begin of the second; infinity asks for the order alone. A hit is then from the begin of
                the first to the end of the second, with the evidence of both and the mean of their scores; videos
                without such a pair are none. Only in the modes `"two-stage"` and `"full"`.

        Returns:
            `list[Hit]` for a string, `list[list[Hit]]` for a list.

        Raises:
            ValueError: an empty index or query, an option out of its range, or an index opened without its model, which
                cannot be loaded.
        """
        return self._ask(
            lambda retriever: retriever.search(queries, top_k, recall_k, mode, where, moments, between, syntax, within)
        )

    def moments(
        self, query: str, path: str | os.PathLike, syntax: str = "plain", within: float = DEFAULT_WITHIN
    ) -> "list[Moment]":
        """All moments of one video that match a query, in the order of time; where no text of it does, the window that
        the model finds best.

        Args:
            query (`str`), syntax (`str`, *optional*, defaults to `"plain"`), within (`float`, *optional*, defaults to
                60.0): as in [`~VideoIndex.search`].
            path (`str | os.PathLike`): of the video.

        Raises:
            ValueError: an empty query, or a video that the index does not have.
        """
        return self._ask(lambda retriever: retriever.moments(query, absolute_path(path), syntax, within))

    def transcript(self, path: str | os.PathLike) -> "list[Cue]":
        """The texts of a video, each once for as long as it is seen, see [`transcript`].

        Args:
            path (`str | os.PathLike`): of the video.

        Raises:
            ValueError: the index does not have it.
        """
        from tcd_hf.index.transcript import transcript

        rows = self._latest().read(["segment", "captions"], f"path IN {sql_list([absolute_path(path)])}")
        if not len(rows):
            raise ValueError(
                f"The index {self.uri} has no video {absolute_path(path)!r}: `tcd-hf list` names those it has."
            )
        return transcript(captions_in_order(rows))

    def score(self, queries: Sequence[str]) -> "IndexScores":
        """Scores every query with every video, in the order of [`~VideoIndex.paths`]."""
        return self._ask(lambda retriever: retriever.score(queries))

    def _latest(self) -> IndexStorage:
        self._storage.videos.checkout_latest()
        return self._storage

    def _ask(self, question):
        """Asks the retriever, and once more if a writer took away files of a former version meanwhile."""
        while True:
            version = self._latest().videos.version
            try:
                return question(self._retrieval(version))
            except (OSError, RuntimeError, ValueError):
                if self._latest().videos.version == version:
                    raise

    def _retrieval(self, version: int):
        """What answers questions about the index at this version, which is the latest."""
        self.model.eval()
        retriever = self._retriever  # one look: other threads may replace it meanwhile
        if retriever is None or retriever.table.version != version:
            from tcd_hf.index.retrieval import Retriever

            table = self._storage.open_table()  # of its own: a search goes on undisturbed while this index is added to
            retriever = self._retriever = Retriever(
                self.model,
                self.processor,
                table,
                self.metadata,
                self._storage.load_statistics(table),
                lexical_weight=self.lexical_weight,
                memory_budget=self.memory_budget,
            )
        return retriever

    def _ingest(
        self,
        paths: list[str],
        workers: int | None,
        on_video: Callable[[str], None] | None,
        on_progress: Callable[[ReadingProgress], None] | None,
        texts: Mapping[str | os.PathLike, Iterable[Any]] | None,
    ) -> AddReport:
        checked = None if texts is None else check_texts(texts, paths)
        reader = self._make_reader()
        step = LocalReading(self.model, reader, self.processor.tokenizer.padding_side, workers, self.batch_size)
        if on_video is not None or on_progress is not None:
            return Ingest(self._storage, step, on_video, on_progress, self.memory_budget).run(paths, checked)
        with progress_bar("Indexing", paths) as progress:
            return Ingest(self._storage, step, progress.finish, progress.advance, self.memory_budget).run(
                paths, checked
            )

    def _make_reader(self) -> VideoReader:
        """Reads videos as those in the index were read; refuses to with another processor."""
        self.model.eval()
        reader = VideoReader.of(self.processor, self.cache, self.metadata.segment_seconds)
        frames, captions = frame_fingerprint(self.processor), reader.caption_settings
        self.metadata.check(self.uri, frame_fingerprint=frames, caption_fingerprint=captions)
        return reader

    def _makers(self) -> tuple[TCDModel, TCDProcessor]:
        """The model and its processor, loaded if they are not there yet."""
        with self._loading:
            if self._model is None or self._processor is None:
                model, processor = load_for_index(self.uri, self.metadata)
                model, processor = self._model or model, self._processor or processor
                _check_makers(self._storage, model, processor)
                self._model, self._processor = model, processor
            return self._model, self._processor

    def _check_present(self, paths: list[str]) -> None:
        """Refuses to make an index one of paths that are not there."""
        advice = "Nothing was removed from the index: see to it, or use `remove` (--remove)."
        if not paths:
            raise ValueError(f"No video found. {advice}")
        missing = [path for path in paths if not os.path.lexists(path)]
        lost = tuple(f"{path}/" for path in missing)
        if missing and (len(missing) == len(paths) or any(path.startswith(lost) for path in self.paths)):
            raise FileNotFoundError(f"No such file or folder: {missing[0]}. {advice}")

    def _remove(self, paths: Iterable[str], forget: Iterable[str]) -> list[str]:
        gone = sorted(paths)
        if gone:
            statistics = self._storage.load_statistics()
            for rows in self._storage.read_of(gone, ["term_text"]):
                statistics.subtract(rows)
            self._storage.delete(gone)
            self._storage.save_statistics(statistics if self._storage.folder is not None else None)
        self._storage.update_errors({}, fine=[*gone, *forget])
        return gone


def _check_makers(storage: IndexStorage, model: TCDModel | None, processor: TCDProcessor | None) -> None:
    """Refuses a model or a processor that did not make the index."""
    if model is not None:
        storage.metadata.check(storage.uri, model_fingerprint=model_fingerprint(model.eval()))
    if processor is not None:
        storage.metadata.check(storage.uri, tokenizer_fingerprint=tokenizer_fingerprint(processor))


def _schema_for(model: TCDModel, processor: TCDProcessor, segment_seconds: float):
    """Asks the model itself what it makes of a video: of a black one without text."""
    num_frames = processor.num_frames
    black = [np.zeros((32, 32, 3), np.uint8)] * num_frames
    inputs = processor.process_frames(black, [""] * num_frames, return_tensors="np")
    metadata = IndexMetadata.describe(
        compute_features(model, [dict(inputs)]),
        **all_fingerprints(model, processor),
        model_name=model_name(model),
        dim=model.config.projection_dim,
        num_frames=num_frames,
        segment_seconds=segment_seconds,
        reading=_reading_of(processor),
    )
    return table_schema(metadata)


def _reading_of(processor: TCDProcessor) -> dict[str, Any]:
    """How a processor reads text, if that can be written down."""
    if not isinstance(processor.ocr_engine, str | None):
        return {}
    return {name: getattr(processor, name) for name in READING_OPTIONS}
