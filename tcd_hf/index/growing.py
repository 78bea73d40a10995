"""The part of an index that is written: it takes videos in, one run of those who add at a time, and lets them go."""

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch

from tcd_hf.choices import DEFAULT_LEXICAL_WEIGHT, Engine
from tcd_hf.index.engines import check_engine, make_engine
from tcd_hf.index.ingest import AddReport, Ingest, IngestEngine
from tcd_hf.index.progress import VideoProgress, progress_bar
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.searching import SearchableIndex
from tcd_hf.index.storage import FIRST_SEGMENTS, IndexStorage
from tcd_hf.index.writers import OnWait, StoppedWaiting
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.processing.video_inputs import VideoInput
from tcd_hf.reading.cache import CaptionCache
from tcd_hf.reading.files import VIDEO_EXTENSIONS, FoundVideos, absolute_path, absolute_videos, is_there
from tcd_hf.reading.fingerprints import frame_fingerprint
from tcd_hf.reading.object_stores import is_address
from tcd_hf.reading.own_texts import check_texts
from tcd_hf.reading.video_reader import VideoReader
from tcd_hf.reading.worker_pool import warn_of_reading_here
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS

__all__ = ["GrowingIndex"]


class GrowingIndex(SearchableIndex):
    """The part of a [`VideoIndex`] that is written.

    Args:
        storage ([`IndexStorage`]): the index, opened.
        model, processor, cache_dir, lexical_weight, memory_budget, batch_size, device: as of [`VideoIndex.open`].

    Raises:
        ValueError: an option out of its range.
    """

    def __init__(
        self,
        storage: IndexStorage,
        model: TCDModel | str | os.PathLike | None = None,
        processor: TCDProcessor | None = None,
        cache_dir: str | os.PathLike | None = None,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        batch_size: int | None = None,
        device: str | torch.device | None = "auto",
    ):
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        super().__init__(storage, model, processor, device, lexical_weight, memory_budget)
        self.cache = CaptionCache(cache_dir)
        self.batch_size = batch_size

    def add(
        self,
        paths: Iterable[str | os.PathLike] | str | os.PathLike | Mapping[str, VideoInput],
        workers: int | None = None,
        on_video: Callable[[str], None] | None = None,
        on_progress: Callable[[VideoProgress], None] | None = None,
        texts: Mapping[str | os.PathLike, Iterable[Any]] | None = None,
        engine: Engine = "local",
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        stop: threading.Event | None = None,
        on_wait: OnWait | None = None,
        alongside: bool = False,
    ) -> AddReport:
        """Brings videos into the index: new ones, and those whose content has changed.

        Processes decode videos and read their text; this one encodes them, and commits every so often, or after each
        video if it reads itself. It may be killed at any moment: run again, it goes on from there. A file that cannot
        be read, even one that brings its process down, is skipped and named in the report and in `errors.jsonl`. A file
        whose size and time stamps are those of its row is not opened; one with the content of another row is not
        decoded.

        Args:
            paths (`Iterable[str | os.PathLike]` or one): video files, and folders, for all videos below them, or their
                addresses in an object store, `s3://bucket/folder`, which are read by ranges. Or videos that are no
                files, by names of yours: `{"sign": frames, "shop": decoder}`, each anything that `open_video` takes;
                frames at another rate than one a second are given as `{"array": frames, "video_metadata": {"fps":
                25}}`. Names are taken for paths, relative to the current folder, wherever the index takes or gives
                paths. They are read in this process.
            workers (`int`, *optional*): processes that read; by default one per core where there are enough files, and
                else one, which costs a second. 0 reads in this process, which a bad file can then end or hold up for
                ever. Each takes its share of the cores (`OMP_NUM_THREADS`, if set, instead) and about 1.5 GB of memory:
                there are at most 32 by default, and where that is too much for the machine, give fewer. What they need,
                such as an OCR engine of yours, is pickled; if that cannot be done, a warning says so and videos are
                read in this process, unless `workers` is given.
            on_video (`Callable[[str], None]`, *optional*): called with each absolute path when it is done.
            on_progress (`Callable[[VideoProgress], None]`, *optional*): called after each segment that was read. If
                neither is given, a progress bar on the terminal shows seconds of video, the speed as a multiple of real
                time, and the time left.
            texts (`Mapping`, *optional*): what videos come with beside what is read in them, such as subtitles: for
                each path its texts, `(start, end, text)` in seconds. They are searched like those that are read, and
                marked by their source. Other texts than before count as a changed file; `[]` takes all away. A video
                that is not named keeps what it has, as long as its content is the same.
            engine (`"local"` or `"ray"`, *optional*, defaults to `"local"`): what spreads the work: processes of this
                machine, or a Ray cluster, see [`RayEngine`], whose `workers` are actors that read, one per CPU by
                default. Both commit alike, and go on alike when they are run again.
            stall_seconds (`float`, *optional*, defaults to 120): a file that gives neither a frame nor a text for so
                long is skipped. It must be enough for the OCR engine to read 8 frames. With `workers=0` there is no
                limit.
            stop (`threading.Event`, *optional*): once it is set, by another thread, no more is read, and what is
                finished stays: the report names only that. Not with Ray.
            on_wait (`Callable[[str | None], None]`, *optional*): called with a sentence that says for whom it waits,
                when another process works on the index, and with `None` when it goes on; by default a warning is
                logged.
            alongside (`bool`, *optional*, defaults to `False`): do not wait until other runs are done that add to the
                index, but read while they do. Each waits only for a commit of another; of a video that both read, one
                keeps its rows.

        Raises:
            IndexMismatchError: the processor reads text or frames otherwise than the one that made the index, or the
                folder of the index is gone.
            IndexDamagedError: the files of the index cannot be read.
            PermissionError: they may not be written.
            OSError: their disk is full or out of reach, or has no locks. What was committed before is kept.
            CacheError: the cache folder cannot be written.
            OCREngineError, ImportError: the OCR engine cannot be had, or Ray.
            RuntimeError: a worker of the Ray cluster cannot work, whatever the video, the cluster is gone, or `workers`
                cannot be had; names the cause.
            ValueError: no such engine, a number of `workers` or of seconds that it cannot have, a text that is none or
                of another video, or the index was opened without its model, and that cannot be loaded.
        """
        given = None
        if isinstance(paths, Mapping):
            if workers or engine != "local":
                raise ValueError(f"Videos in memory are read in this process: leave out {workers=} and {engine=}.")
            given, workers = {absolute_path(name): video for name, video in paths.items()}, 0
        elif workers == 0:
            warn_of_reading_here()
        step = self._make_engine(engine, workers, stall_seconds, stop)
        waiting: Any = {"on_wait": on_wait, "stop": stop}
        with contextlib.ExitStack() as turn:
            try:
                if not alongside:
                    turn.enter_context(self._storage.adding(**waiting))
            except StoppedWaiting:
                return AddReport()
            found = absolute_videos(paths) if given is None else FoundVideos(list(given), [])
            report = self._ingest(found.videos, step, on_video, on_progress, texts, given, **waiting)
        report.left_out = found.left_out
        return report

    def refresh(
        self,
        paths: Iterable[str | os.PathLike] | str | os.PathLike,
        workers: int | None = None,
        on_video: Callable[[str], None] | None = None,
        on_progress: Callable[[VideoProgress], None] | None = None,
        texts: Mapping[str | os.PathLike, Iterable[Any]] | None = None,
        keep_unreadable: bool = True,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
    ) -> AddReport:
        """Makes the index one of these videos: as [`~VideoIndex.add`], and rows of all other paths are removed. With a
        folder it follows what becomes of the folder.

        Args:
            paths, workers, on_video, on_progress, texts, stall_seconds: as of [`~VideoIndex.add`].
            keep_unreadable (`bool`, *optional*, defaults to `True`): let videos that cannot be read any more keep the
                rows that they have; else these are removed too.

        Raises:
            FileNotFoundError: none of the paths exists, or one does not below which the index has videos: a disk that
                is not there must not empty the index.
            ValueError: there is no video at all; likewise.
            IndexMismatchError, IndexDamagedError, PermissionError, OSError: and all else as of [`~VideoIndex.add`].
        """
        paths, left_out = absolute_videos(paths)
        if workers == 0:
            warn_of_reading_here()
        step = self._make_engine("local", workers, stall_seconds)
        with self._storage.adding():
            self._check_present(paths)
            # First, so that moved files take over their rows.
            report = self._ingest(paths, step, on_video, on_progress, texts)
            with self._storage.writing():
                present = self._videos()
                report.removed, report.left_out = sorted(set(present).difference(paths)), left_out
                unreadable = [] if keep_unreadable else {video.path for video in report.skipped}.intersection(present)
                self._remove([*report.removed, *unreadable])
                self._storage.update_errors({}, resolved=set(self.errors).difference(paths))
        return report

    def remove(
        self, paths: Iterable[str | os.PathLike] | str | os.PathLike, stop: threading.Event | None = None
    ) -> int:
        """Removes videos by their paths; a folder stands for all below it.

        Args:
            paths (`Iterable[str | os.PathLike]` or one): of videos and folders.
            stop (`threading.Event`, *optional*): once it is set, by another thread, it no longer waits for others that
                write to the index, and removes nothing.

        Returns:
            `int`: how many videos there were. Paths that the index does not have are ignored.

        Raises:
            IndexMismatchError: the folder of the index is gone.
            IndexDamagedError: its files cannot be read.
            PermissionError: it may not be written.
            OSError: its disk is full or out of reach, or has no locks.
        """
        paths = [paths] if isinstance(paths, str | os.PathLike) else paths
        prefixes = tuple(absolute_path(path).rstrip("/") + "/" for path in paths)
        try:
            with self._storage.writing(stop=stop):
                groups = self._videos(), self.errors
                gone, resolved = ({path for path in group if (path + "/").startswith(prefixes)} for group in groups)
                self._remove(gone)
                self._storage.update_errors({}, resolved=resolved)
        except StoppedWaiting:
            return 0
        return len(gone)

    def compact(self) -> None:
        """Merges the pieces that many small additions leave, and frees the space of removed and replaced rows.

        In a folder, so are the rest of killed runs and all old versions. On an object store, old versions stay for a
        week. What rows are found by is made as well where it is due; where another process makes it in the background,
        this waits until that is done.

        Raises:
            IndexMismatchError, IndexDamagedError, PermissionError, OSError: as of [`~VideoIndex.remove`].
        """
        with self._storage.indexing(), self._storage.writing():
            self._storage.compact()
            self._storage.make_due_indices(self.memory_budget)
            self._storage.save_statistics()

    def _ingest(
        self,
        paths: Collection[str],
        engine: IngestEngine,
        on_video: Callable[[str], None] | None,
        on_progress: Callable[[VideoProgress], None] | None,
        texts: Mapping[str | os.PathLike, Iterable[Any]] | None,
        given: Mapping[str, VideoInput] | None = None,
        holds_lock: bool = False,
        **waiting: Any,
    ) -> AddReport:
        """Brings videos into the index. The caller may hold the writer's lock."""
        checked = None if texts is None else check_texts(texts, paths)
        max_pixels = self.processor.max_pixels
        options = {"memory_budget": self.memory_budget, "holds_lock": holds_lock, "max_pixels": max_pixels, **waiting}
        if on_video is not None or on_progress is not None:
            return Ingest(self._storage, engine, on_video, on_progress, **options).run(paths, checked, given)
        with progress_bar("Indexing", paths) as progress:
            ingest = Ingest(self._storage, engine, progress.finish, progress.advance, **options)
            return ingest.run(paths, checked, given)

    def _make_engine(
        self,
        name: Engine,
        workers: int | None,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        stop: threading.Event | None = None,
    ) -> IngestEngine:
        """What reads and encodes videos as those in the index were; refuses to with another processor."""
        check_engine(name, workers, stall_seconds)
        model, processor = self._require_model()
        reader = VideoReader.of(processor, self.cache, self.metadata.segment_seconds)
        frames, captions = frame_fingerprint(processor), reader.caption_settings
        self.metadata.check(self.uri, frame_fingerprint=frames, caption_fingerprint=captions)
        options = model.eval(), reader, processor.tokenizer.padding_side, workers, stall_seconds
        return make_engine(name, *options, batch_size=self.batch_size, stop=stop)

    def _check_present(self, paths: list[str]) -> None:
        """Refuses to make an index one of paths that are not there."""
        advice = "Nothing was removed from the index: see to it, or use `remove` (--remove)."
        if not paths:
            raise ValueError(f"No video found. {advice}")
        missing = [path for path in paths if not _may_be_there(path)]
        lost = tuple(f"{path}/" for path in missing)
        if missing and (len(missing) == len(paths) or any(path.startswith(lost) for path in self.paths)):
            raise FileNotFoundError(f"No such file or folder: {missing[0]}. {advice}")

    def _latest_videos(self) -> list[str]:
        """Paths of the videos."""
        self._latest()
        return self._videos()

    def _videos(self) -> list[str]:
        """Paths of the videos at the version at hand."""
        return self._storage.read(["path"], FIRST_SEGMENTS)["path"].to_pylist()

    def _remove(self, paths: Iterable[str]) -> None:
        """Removes the rows of videos. The caller holds the writer's lock."""
        gone, statistics = sorted(paths), None
        if gone:
            statistics = self._storage.load_statistics()
            for rows in self._storage.read_of(gone, ["term_text"]):
                statistics.subtract(rows)
            statistics.version += self._storage.delete(gone)
        if gone or not self._storage.has_statistics():  # a run may have been killed between the two
            self._storage.save_statistics(statistics)


def _may_be_there(path: str) -> bool:
    """Whether a path need not be missed. Of a video in an object store that is not asked, file by file: where it is
    gone, its rows stay."""
    named_as_video = os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS
    return (is_address(path) and named_as_video) or is_there(path)
