"""An index of videos that lasts: on disk or in an object store, filled step by step, searched by sentences."""

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from tcd_hf.choices import Engine
from tcd_hf.index.contents import CONTENTS_FILE
from tcd_hf.index.damage import reporting
from tcd_hf.index.engines import check_engine, make_engine
from tcd_hf.index.hits import DEFAULT_LEXICAL_WEIGHT
from tcd_hf.index.ingest import AddReport, Ingest, IngestEngine
from tcd_hf.index.opening import cached_folder, check_model, load_model, make_or_open, open_storage
from tcd_hf.index.progress import VideoProgress, progress_bar
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.repair import DAMAGED, RepairReport, remake, rescue
from tcd_hf.index.searching import SearchableIndex
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.verification import find_damage_of_indices, find_damage_of_lists
from tcd_hf.index.writers import OnWait, StoppedWaiting, one_at_a_time
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.reading.cache import CaptionCache, writing_to
from tcd_hf.reading.files import absolute_videos, find_videos
from tcd_hf.reading.fingerprints import all_fingerprints, frame_fingerprint
from tcd_hf.reading.own_texts import check_texts
from tcd_hf.reading.video_reader import VideoReader
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS

__all__ = ["VideoIndex"]


class VideoIndex(SearchableIndex):
    """Videos to search in, read and encoded once. Made by [`~VideoIndex.create`], [`~VideoIndex.open`]
    or [`~VideoIndex.cached`].

    A file is cut into equal *segments* of at most `segment_seconds`; a short clip is one. The index is a LanceDB table
    with a row per segment: its captions with their times and boxes, a full-text index on them, a vector for recall, and
    the features that exact scores are computed from. All rows of a file are written at once, so that it is in the index
    or is not. What counts and lists videos counts files; [`~VideoIndex.read`] shows segments. Nothing is written beside
    the videos.

    **Several processes.** Any number may search while one writes; each search sees the table as it was committed last
    when the search began. Of two that add to a local index, the second waits until the first is done, unless it is told
    to read `alongside`; whatever else is written, such as a removal, waits for one commit. A process that dies leaves
    no lock behind. On an object store there is no lock: have one writer at a time there.

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
            IndexDamagedError: the files of the one that is there cannot be read.
            PermissionError: the folder may not be made or written.
            OSError: its disk is full or out of reach, or has no locks.
            ValueError: an option out of its range.
        """
        storage = make_or_open(uri, model, processor, exist_ok, segment_seconds)
        return cls(storage, model, processor, cache_dir, lexical_weight, memory_budget, batch_size)

    @classmethod
    def open(
        cls,
        uri: str | os.PathLike,
        model: TCDModel | str | os.PathLike | None = None,
        processor: TCDProcessor | None = None,
        cache_dir: str | os.PathLike | None = None,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        batch_size: int | None = None,
        device: str | torch.device | None = "auto",
    ) -> "VideoIndex":
        """Opens an index.

        The model and the processor that made it, if not given, are loaded when something first needs them, such as
        searching and adding: by the name that the index has for them, as [`load`] does, on the GPU where there is one.
        Text is then read as in the index; of the options of its OCR engine only those that are numbers are taken from
        there, because others may lead to files. Nothing that an index names is run.

        Args:
            uri (`str | os.PathLike`): where it is; see above.
            model (`TCDModel` or `str | os.PathLike`, *optional*): the model that made it, on any device; put into
                evaluation mode. Or what it is loaded by, in place of the name that the index has for it.
            processor (`TCDProcessor`, *optional*): one with the tokenizer that made it; to add videos, also with the
                OCR and image processing.
            cache_dir (`str | os.PathLike`, *optional*): folder of the caption cache, see [`CaptionCache`]: text is read
                once, whatever the index, model or path.
            lexical_weight (`float`, *optional*, defaults to 0.5): `w` of the search score `(1 - w) * S + w * L`.
            memory_budget (`int`, *optional*, defaults to 4 GiB): bytes that vectors for recall may take in memory;
                above it an approximate index on disk is searched.
            batch_size (`int`, *optional*): segments that the model encodes at once; by default 8 on an accelerator, and
                1 on a CPU, for which the frames of one are enough.
            device (`str` or `torch.device`, *optional*, defaults to `"auto"`): of a model that is loaded, see [`load`].

        Raises:
            IndexMismatchError: no index, or one of another model, tokenizer or version; the message says what to do.
            IndexDamagedError: its files cannot be read, or what they say of it is not what was written.
            OSError: they may not be read, or are out of reach.
            ValueError: an option out of its range.
        """
        storage = open_storage(uri, None if isinstance(model, str | os.PathLike) else model, processor)
        return cls(storage, model, processor, cache_dir, lexical_weight, memory_budget, batch_size, device)

    @classmethod
    def cached(
        cls,
        paths: Iterable[str | os.PathLike] | str | os.PathLike,
        model: TCDModel | str | os.PathLike | None = None,
        processor: TCDProcessor | None = None,
        *,
        refresh: bool = True,
        workers: int | None = None,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        on_video: Callable[[str], None] | None = None,
        on_progress: Callable[[VideoProgress], None] | None = None,
        cache_dir: str | os.PathLike | None = None,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        batch_size: int | None = None,
    ) -> "VideoIndex":
        """Gives the index of a folder that is kept in the cache, brought up to date: to search videos in passing.

        The same paths have the same index again, with the same model and processor; only what is new or has changed is
        read. It is in the folder `indexes` of the cache, and may be deleted at any time. Files that cannot be read are
        not in it, and named in [`~VideoIndex.errors`].

        Args:
            paths (`Iterable[str | os.PathLike]` or one): folders, for all videos below them, and video files.
            model (`TCDModel` or `str | os.PathLike`, *optional*): the model, or what [`load`] takes for it; the one
                inside the package by default.
            processor (`TCDProcessor`, *optional*): its processor; may be left out if the model is loaded.
            refresh (`bool`, *optional*, defaults to `True`): look for new videos and for changes; else the index is as
                it was left, and empty at first.
            workers, stall_seconds, on_video, on_progress: as of [`~VideoIndex.add`].
            cache_dir, lexical_weight, memory_budget, batch_size: as of [`~VideoIndex.open`].

        Raises:
            FileNotFoundError: a path that does not exist.
            ValueError: no video, none that can be read, a model without its processor, or one that cannot be loaded.
            CacheError: the cache folder cannot be written.

        Example:

        ```python
        >>> VideoIndex.cached("my_clips/").search("the store TESCO express", top_k=1)[0].evidence
        ['TESCO express']
        ```"""
        paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        videos = find_videos(paths)  # tells what is wrong with them before a model is loaded
        model, processor = load_model(model, processor)
        fingerprints = all_fingerprints(model, processor)
        folder = cached_folder(paths, fingerprints, cache_dir)
        with writing_to(folder):
            storage = make_or_open(folder, model, processor, exist_ok=True, fingerprints=fingerprints)
        index = cls(storage, model, processor, cache_dir, lexical_weight, memory_budget, batch_size)
        if refresh:
            index.refresh(videos, workers, on_video, on_progress, keep_unreadable=False, stall_seconds=stall_seconds)
            if not len(index):
                raise ValueError(f"None of the {len(videos)} videos could be read.")
        return index

    @classmethod
    def repair(
        cls,
        uri: str | os.PathLike,
        model: TCDModel | str | os.PathLike | None = None,
        processor: TCDProcessor | None = None,
        workers: int | None = None,
        on_video: Callable[[str], None] | None = None,
        on_progress: Callable[[VideoProgress], None] | None = None,
        cache_dir: str | os.PathLike | None = None,
        batch_size: int | None = None,
        device: str | torch.device | None = "auto",
        stall_seconds: float = DEFAULT_STALL_SECONDS,
    ) -> RepairReport:
        """Mends an index in a folder some of whose files are damaged, even one that cannot be opened.

        The newest version all of whose rows are whole is brought back; if more is whole in the latest one, as after
        [`~VideoIndex.compact`], which leaves no older one, its whole rows are kept. Videos whose rows are lost are read
        again where their files are there: text comes from the cache, so this takes little time. Full-text index,
        statistics and lists are made anew. Files that were given up are kept in the folder `.damaged` of the index.

        Args:
            uri, model, processor, cache_dir, batch_size, device: as of [`~VideoIndex.open`]; the model is loaded only
                if videos must be read again.
            workers, on_video, on_progress, stall_seconds: as of [`~VideoIndex.add`].

        Returns:
            [`RepairReport`]: what was kept, read again, and lost.

        Raises:
            IndexMismatchError: no index, or one of another model or version.
            IndexDamagedError: nothing of it can be read.
            PermissionError: the folder may not be written.
            OSError: its disk is full or out of reach, or has no locks; then nothing is given up.
            ValueError: it is not in a folder.
        """
        storage = IndexStorage(uri)
        if storage.folder is None:
            raise ValueError(f"{storage.uri} is on an object store, where nothing can be repaired: make it anew.")
        if not storage.exists() and not (storage.folder / CONTENTS_FILE).exists():
            storage.open()  # says that there is none
        with contextlib.ExitStack() as turn:
            for role in ("adder", "writer"):
                with reporting(storage, "lock"):
                    turn.enter_context(one_at_a_time(storage.folder, storage.uri, role))
            with reporting(storage, "rows"):
                rescued = rescue(storage)
            check_model(storage, None if isinstance(model, str | os.PathLike) else model, processor)
            index = cls(storage, model, processor, cache_dir, batch_size=batch_size, device=device)
            damages = [*find_damage_of_indices(storage), *find_damage_of_lists(storage.folder)]
            report = RepairReport(restored_version=rescued.restored_version, remade=[damage.part for damage in damages])
            index._remove(set(rescued.removed).intersection(index._videos()))
            present = set(index._videos())
            missing = [path for path in rescued.wanted if path not in present]
            files = [path for path in missing if os.path.isfile(path)]
            if files:
                step = index._make_engine("local", workers, stall_seconds)
                index._ingest(files, step, on_video, on_progress, None, holds_lock=True)
            remake(storage)
            there = set(index._videos())
        report.kept = len(present)
        report.read_again = [path for path in files if path in there]
        report.lost = [path for path in missing if path not in there]
        report.without_own_texts = [path for path in report.read_again if rescued.wanted[path]]
        aside = storage.folder / DAMAGED
        report.set_aside = str(aside) if aside.exists() else None
        return report

    def new_handle(self) -> "VideoIndex":
        """Another handle of this index, for another thread that adds to it: with a processor of its own, because a
        tokenizer serves one thread, and the same model and options. Nothing is loaded or checked anew."""
        model, processor = self._require_model()
        return type(self)(
            self._storage.new_handle(),
            model,
            copy.deepcopy(processor),
            self.cache.folder,
            self.lexical_weight,
            self.memory_budget,
            self.batch_size,
        )

    def add(
        self,
        paths: Iterable[str | os.PathLike] | str | os.PathLike,
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
            paths (`Iterable[str | os.PathLike]` or one): video files, and folders, for all videos below them.
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
                machine, or a Ray cluster, see [`RayEngine`], whose `workers` are actors, one per CPU by default.
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
                keeps its rows. Not with Ray, which commits once.

        Raises:
            IndexMismatchError: the processor reads text or frames otherwise than the one that made the index, or the
                folder of the index is gone.
            IndexDamagedError: the files of the index cannot be read.
            PermissionError: they may not be written.
            OSError: their disk is full or out of reach, or has no locks. What was committed before is kept.
            CacheError: the cache folder cannot be written.
            OCREngineError, ImportError: the OCR engine cannot be had, or Ray.
            RuntimeError: a worker of the Ray cluster cannot work, whatever the video, or `workers` cannot be had; names
                the cause.
            ValueError: no such engine, a number of `workers` or of seconds that it cannot have, a text that is none or
                of another video, or the index was opened without its model, and that cannot be loaded.
        """
        step = self._make_engine(engine, workers, stall_seconds, stop)
        waiting: Any = {"on_wait": on_wait, "stop": stop}
        holds_lock = engine == "ray"  # files that its workers write are of no commit yet, and others would remove them
        with contextlib.ExitStack() as turn:
            try:
                if not alongside:
                    turn.enter_context(self._storage.adding(**waiting))
                if holds_lock:
                    turn.enter_context(self._storage.writing(**waiting))
            except StoppedWaiting:
                return AddReport()
            found = absolute_videos(paths)
            report = self._ingest(found.videos, step, on_video, on_progress, texts, holds_lock, **waiting)
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

    def _ingest(
        self,
        paths: list[str],
        engine: IngestEngine,
        on_video: Callable[[str], None] | None,
        on_progress: Callable[[VideoProgress], None] | None,
        texts: Mapping[str | os.PathLike, Iterable[Any]] | None,
        holds_lock: bool = False,
        **waiting: Any,
    ) -> AddReport:
        """Brings videos into the index. The caller may hold the writer's lock."""
        checked = None if texts is None else check_texts(texts, paths)
        options = {"memory_budget": self.memory_budget, "holds_lock": holds_lock, **waiting}
        if on_video is not None or on_progress is not None:
            return Ingest(self._storage, engine, on_video, on_progress, **options).run(paths, checked)
        with progress_bar("Indexing", paths) as progress:
            return Ingest(self._storage, engine, progress.finish, progress.advance, **options).run(paths, checked)

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
        missing = [path for path in paths if not os.path.lexists(path)]
        lost = tuple(f"{path}/" for path in missing)
        if missing and (len(missing) == len(paths) or any(path.startswith(lost) for path in self.paths)):
            raise FileNotFoundError(f"No such file or folder: {missing[0]}. {advice}")
