"""An index of videos that lasts: on disk or in an object store, filled step by step, searched by sentences."""

import contextlib
import copy
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, overload

import torch

from tcd_hf.choices import DEFAULT_LEXICAL_WEIGHT, FeatureType
from tcd_hf.index.contents import CONTENTS_FILE
from tcd_hf.index.damage import reporting
from tcd_hf.index.growing import GrowingIndex
from tcd_hf.index.joint_rows import open_alike
from tcd_hf.index.opening import cached_folder, check_model, load_model, make_or_open, open_storage
from tcd_hf.index.progress import VideoProgress
from tcd_hf.index.recall import DEFAULT_MEMORY_BUDGET
from tcd_hf.index.repair import DAMAGED, RepairReport, is_begun, remake, rescue
from tcd_hf.index.storage import IndexStorage
from tcd_hf.index.verification import find_damage_of_indices, find_damage_of_lists
from tcd_hf.index.writers import one_at_a_time
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.reading.cache import writing_to
from tcd_hf.reading.files import find_videos
from tcd_hf.reading.fingerprints import all_fingerprints
from tcd_hf.reading.object_stores import is_address
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS

if TYPE_CHECKING:
    from tcd_hf.index.joint_index import JointIndex

__all__ = ["VideoIndex"]


class VideoIndex(GrowingIndex):
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
    no lock behind. On an object store there is no lock, and nobody waits: of two that commit at once the second does it
    again on top of the first, so that no commit is lost, and a video that both add is there once.

    **Places.** A folder, as a path or a `file://` URI, or what else LanceDB takes: `s3://bucket/path`, `gs://` and
    `az://`, with the credentials of their environment variables. Videos and the cache may be there, too (the extra
    `s3`). Nothing is repaired there.

    Example:

    ```python
    >>> model, processor = load_mini()
    >>> index = VideoIndex.create("my.index", model, processor)
    >>> report = index.add(["shop.mp4", "match.mp4"])
    >>> index.search("the store TESCO express", top_k=1)[0].evidence
    ['TESCO express']
    ```
    """

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
        feature_type: FeatureType | None = None,
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
            feature_type (`"int8"` or `"float16"`, *optional*): how the vectors that scores are computed from are kept:
                in bytes, of each vector in 127ths of its largest number, or in twice as much, exact to 1e-3. `"int8"`
                by default. It is kept in the index.

        Raises:
            FileExistsError: there is an index, and not `exist_ok`.
            IndexMismatchError: there is one of another model, tokenizer, version, `segment_seconds` or `feature_type`,
                or the folder holds other files.
            IndexDamagedError: the files of the one that is there cannot be read.
            PermissionError: the folder may not be made or written.
            OSError: its disk is full or out of reach, or has no locks.
            ValueError: an option out of its range.
        """
        storage = make_or_open(uri, model, processor, exist_ok, segment_seconds, feature_type=feature_type)
        return cls(storage, model, processor, cache_dir, lexical_weight, memory_budget, batch_size)

    @overload
    @classmethod
    def open(
        cls,
        uri: str | os.PathLike,
        model: TCDModel | str | os.PathLike | None = ...,
        processor: TCDProcessor | None = ...,
        cache_dir: str | os.PathLike | None = ...,
        lexical_weight: float = ...,
        memory_budget: int = ...,
        batch_size: int | None = ...,
        device: str | torch.device | None = ...,
    ) -> "VideoIndex": ...

    @overload
    @classmethod
    def open(
        cls,
        uri: Sequence[str | os.PathLike],
        model: TCDModel | str | os.PathLike | None = ...,
        processor: TCDProcessor | None = ...,
        cache_dir: str | os.PathLike | None = ...,
        lexical_weight: float = ...,
        memory_budget: int = ...,
        batch_size: int | None = ...,
        device: str | torch.device | None = ...,
    ) -> "JointIndex": ...

    @classmethod
    def open(
        cls,
        uri: str | os.PathLike | Sequence[str | os.PathLike],
        model: TCDModel | str | os.PathLike | None = None,
        processor: TCDProcessor | None = None,
        cache_dir: str | os.PathLike | None = None,
        lexical_weight: float = DEFAULT_LEXICAL_WEIGHT,
        memory_budget: int = DEFAULT_MEMORY_BUDGET,
        batch_size: int | None = None,
        device: str | torch.device | None = "auto",
    ) -> "VideoIndex | JointIndex":
        """Opens an index, or several as one.

        The model and the processor that made it, if not given, are loaded when something first needs them, such as
        searching and adding: by the name that the index has for them, as [`load`] does, on the GPU where there is one.
        Text is then read as in the index; of the options of its OCR engine only those that are numbers are taken from
        there, because others may lead to files. Nothing that an index names is run.

        Args:
            uri (`str | os.PathLike`, or a list of such): where it is; see above. Those of a list, of the same model,
                tokenizer and `segment_seconds`, are searched as one, see [`JointIndex`].
            model (`TCDModel` or `str | os.PathLike`, *optional*): the model that made it, on any device; put into
                evaluation mode. Or what it is loaded by, in place of the name that the index has for it.
            processor (`TCDProcessor`, *optional*): one with the tokenizer that made it; to add videos, also with the
                OCR and image processing.
            cache_dir (`str | os.PathLike`, *optional*): folder of the caption cache, or the address of one (`s3://`),
                see [`CaptionCache`]: text is read once, whatever the index, model or path.
            lexical_weight (`float`, *optional*, defaults to 0.5): how much shared spelling counts in the
                search score: 0 not at all, 1 alone; see [`Fusion`]. With a calibrated model, 0.5 is what was fitted.
            memory_budget (`int`, *optional*, defaults to 4 GiB): bytes that vectors for recall may take in memory, of
                each index; above it an approximate index on disk is searched.
            batch_size (`int`, *optional*): segments that the model encodes at once; by default 8 on an accelerator, and
                1 on a CPU, for which the frames of one are enough.
            device (`str` or `torch.device`, *optional*, defaults to `"auto"`): of a model that is loaded, see [`load`].

        Raises:
            IndexMismatchError: no index, or one of another model, tokenizer or version; the message says what to do.
            IndexDamagedError: its files cannot be read, or what they say of it is not what was written.
            OSError: they may not be read, or are out of reach.
            ValueError: an option out of its range, or an empty list.
        """
        options = cache_dir, lexical_weight, memory_budget, batch_size, device
        given = None if isinstance(model, str | os.PathLike) else model
        if isinstance(uri, str | os.PathLike):
            return cls(open_storage(uri, given, processor), model, processor, *options)
        from tcd_hf.index.joint_index import JointIndex

        storages = open_alike(uri)
        check_model(storages[0], given, processor)
        parts = [cls(storage, model, processor, *options) for storage in storages]
        for part in parts[1:]:
            part._borrow_model(parts[0])
        return JointIndex(parts)

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
        if not (storage.exists() or (storage.folder / CONTENTS_FILE).exists() or is_begun(storage.folder)):
            storage.open()  # says that there is none
        with contextlib.ExitStack() as turn:
            for role in ("indexer", "adder", "writer"):
                with reporting(storage, "lock"):
                    turn.enter_context(one_at_a_time(storage.folder, storage.uri, role))
            with reporting(storage, "rows"):
                rescued = rescue(storage)
            check_model(storage, None if isinstance(model, str | os.PathLike) else model, processor)
            index = cls(storage, model, processor, cache_dir, batch_size=batch_size, device=device)
            damages = [*find_damage_of_indices(storage), *find_damage_of_lists(storage.folder)]
            report = RepairReport(restored_version=rescued.restored_version, remade=[damage.part for damage in damages])
            report.nameless = rescued.nameless
            index._remove(set(rescued.removed).intersection(index._videos()))
            present = set(index._videos())
            missing = [path for path in rescued.wanted if path not in present]
            files = [path for path in missing if os.path.isfile(path) or is_address(path)]
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

    @property
    def parts(self) -> "list[VideoIndex]":
        """Itself alone, as a [`JointIndex`] has several."""
        return [self]

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
