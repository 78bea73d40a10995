"""`VideoIndex.add` on a Ray cluster: workers read, encode and write fragments of the table; one commit adds them."""

import contextlib
import copy
import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from tcd_hf.index.engines import LocalEngine
from tcd_hf.index.ingest import Ingest
from tcd_hf.index.progress import VideoProgress
from tcd_hf.index.storage import sql_list
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.reading.files import FileStamp
from tcd_hf.reading.own_texts import OwnTexts
from tcd_hf.reading.video_reader import SkippedVideo, VideoFile, VideoReader
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS

if TYPE_CHECKING:
    from lance import LanceDataset

__all__ = ["RayEngine", "check_ray"]

MAX_VIDEOS_PER_FRAGMENT = 64
FRAGMENTS_PER_WORKER = 2  # at least: fewer files each, and the last worker to finish is not far behind the others


def check_ray(workers: int | None) -> None:
    """Refuses what the engine `"ray"` cannot do, before others have to wait.

    Args:
        workers (`int`, *optional*): as of [`RayEngine`].

    Raises:
        ImportError: Ray or Lance is not installed; says how to install them.
        ValueError: `workers` is not positive.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1 with Ray, got {workers}.")
    # Ray reads these when it is imported; its log of ordinary work would go to the user's terminal.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import lance  # noqa: F401
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ImportError(f'The engine "ray" needs further packages ({error}): pip install "tcd-hf[ray]"') from error


class RayEngine:
    """The engine `"ray"` of [`VideoIndex.add`]: spreads the work over a Ray cluster.

    The workers open the videos by their paths, and write to the index and to the folder of the caption cache: all three
    must be in the same places on every machine, such as on a shared disk. They encode on the CPU.

    All rows are committed at once, when the last video is done. Of a run that is killed, captions in the cache stay. An
    index on an object store, which has no lock, must have no other writer meanwhile. Videos are told to be done in
    groups.

    Args:
        model (`TCDModel`): computes features.
        reader ([`VideoReader`]): reads files, and makes the model's inputs.
        padding_side (`"right"` or `"left"`): of the tokenizer.
        workers (`int`, *optional*): Ray actors, one CPU each; all CPUs of the cluster by default. Joins the cluster
            that runs on this machine or that `RAY_ADDRESS` names; without one, starts one here until the work is done.
        stall_seconds (`float`, *optional*, defaults to 120): see [`VideoIndex.add`].

    Raises:
        ValueError: more `workers` than the cluster has CPUs, when it is called.
        RuntimeError: a worker cannot work, whatever the video, when it is called; names the cause.
    """

    def __init__(
        self,
        model: TCDModel,
        reader: VideoReader,
        padding_side: str,
        workers: int | None = None,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
    ):
        self.model, self.reader, self.padding_side = model, reader, padding_side
        self.workers, self.stall_seconds = workers, stall_seconds

    def __call__(self, ingest: Ingest, files: Iterable[VideoFile], num_files: int) -> None:
        files = list(files)
        if not files:
            return
        dataset = ingest.storage.videos.to_lance()
        written, replaced = {}, []
        for result in _map_with_ray(files, self, dataset):
            videos = [VideoProgress(*video) for video in result["videos"]]
            written.update({video.path: result["fragments"] for video in videos[:1]})
            replaced += [video.path for video in videos if video.path in ingest.known]
            for video in videos:
                ingest.on_progress(video)
                ingest.wrote(video.path)
            for video in result["skipped"]:
                ingest.skip(SkippedVideo(**video))
        in_order = sorted(written, key=ingest.positions.__getitem__)
        _commit(dataset, [fragment for path in in_order for fragment in written[path]], replaced)
        ingest.recount()


class FragmentWriter:
    """What a Ray worker does: reads and encodes videos, and writes their rows where they wait for the commit.

    Videos are decoded in a process of their own, so that one that brings its decoder down takes no other with it.

    Args:
        reader ([`VideoReader`]): reads files.
        model (`ray.ObjectRef`): of the model, on the CPU.
        padding_side (`str`): of the tokenizer.
        stall_seconds (`float`): see [`VideoIndex.add`].
        uri (`str`), schema (`pa.Schema`), version (`str`): the table, its columns and the version of its files.
    """

    def __init__(
        self,
        reader: VideoReader,
        model: Any,
        padding_side: str,
        stall_seconds: float,
        uri: str,
        schema: pa.Schema,
        version: str,
    ):
        import ray

        self.read = LocalEngine(ray.get(model), reader, padding_side, num_workers=1, stall_seconds=stall_seconds)
        self.uri, self.schema, self.version = uri, schema, version

    def __call__(self, item: dict[str, str]) -> dict[str, str]:
        """JSON in and out: Ray would make columns of anything else. Errors too: it would show them as it sees fit."""
        try:
            return {"json": json.dumps(self._write(item))}
        except Exception as error:
            return {"json": json.dumps({"failure": f"{error} ({type(error).__name__})"})}

    def _write(self, item: dict[str, str]) -> dict[str, Any]:
        from lance.fragment import write_fragments

        files = [
            VideoFile(path, digest, FileStamp(*stamp), settled, OwnTexts.from_json(texts))
            for path, digest, stamp, settled, texts in _parse(item)
        ]
        written = _Rows(self.schema)
        self.read(cast(Any, written), files, len(files))
        tables = {file.path: written.rows[file.path] for file in files if file.path in written.rows}
        fragments = []
        if tables:
            rows = pa.concat_tables(tables.values())
            fragments = write_fragments(rows, self.uri, mode="append", data_storage_version=self.version)
        return {
            "videos": [_all_of(path, rows) for path, rows in tables.items()],
            "skipped": list(map(vars, written.skipped)),
            "fragments": [fragment.to_json() for fragment in fragments],
        }


def _all_of(path: str, rows: pa.Table) -> VideoProgress:
    """The progress of a video that is read to its end."""
    duration, size = (rows[name][0].as_py() for name in ("duration", "size"))
    return VideoProgress(path, duration, duration, size)


class _Rows:
    """Takes the rows of videos in a worker as an [`Ingest`] does where it runs."""

    def __init__(self, schema: pa.Schema):
        self.schema = schema
        self.rows: dict[str, pa.Table] = {}
        self.skipped: list[SkippedVideo] = []
        self.keep, self.skip = self.rows.__setitem__, self.skipped.append

    def on_progress(self, progress: VideoProgress) -> None:
        """Is told nowhere: files come back in groups."""


def _map_with_ray(files: list[VideoFile], engine: RayEngine, dataset: "LanceDataset") -> Iterator[dict[str, Any]]:
    """What the workers wrote, as it comes."""
    with _cluster(engine.workers) as num_workers:
        import ray.data
        from ray.exceptions import RayError

        size = min(MAX_VIDEOS_PER_FRAGMENT, -(-len(files) // (FRAGMENTS_PER_WORKER * num_workers)))
        items = [
            {"json": json.dumps(list(map(_plain, files[start : start + size])))} for start in range(0, len(files), size)
        ]
        writer = (
            engine.reader,
            ray.put(copy.deepcopy(engine.model).cpu()),
            engine.padding_side,
            engine.stall_seconds,
            dataset.uri,
            dataset.schema,
            dataset.data_storage_version,
        )
        results = ray.data.from_items(items, override_num_blocks=len(items)).map(
            cast(Any, FragmentWriter),
            fn_constructor_args=writer,
            compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(items))),
            num_cpus=1,
        )
        try:
            for result in map(_parse, results.iter_rows()):
                if "failure" in result:
                    raise RuntimeError(f"A Ray worker had to give up: {result['failure']}")
                yield result
        except RayError as error:
            raise RuntimeError(f"Ray had to give up: {error}") from error


def _plain(file: VideoFile) -> tuple:
    """A file as JSON types."""
    return file.path, file.content_hash, file.stamp, file.settled, file.texts.to_json()


def _parse(item: dict[str, str]) -> Any:
    return json.loads(item["json"])


@contextlib.contextmanager
def _cluster(num_workers: int | None) -> Iterator[int]:
    """Makes sure that there is a Ray cluster. Yields the number of workers to start in it."""
    import ray.data

    started = not ray.is_initialized()
    if started:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        with warnings.catch_warnings():  # LanceDB's of forks; these become other programs at once
            warnings.simplefilter("ignore")
            try:
                ray.init(address="auto", **quiet)
            except ConnectionError:  # none is running: one for us alone, with a CPU to spare for Ray's own tasks
                num_workers = num_workers or os.cpu_count() or 1
                ray.init(address="local", num_cpus=num_workers + 1, include_dashboard=False, **quiet)
    try:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if (num_workers or 1) > cpus:
            raise ValueError(f"{num_workers or 1} workers need as many CPUs, but the Ray cluster has {cpus}.")
        yield num_workers or cpus
    finally:
        if started:
            ray.shutdown()


def _commit(dataset: "LanceDataset", fragments: "list[dict[str, Any]]", replaced: list[str]) -> None:
    """Adds written fragments to the table and takes the former rows of `replaced` paths out, all or nothing."""
    import lance
    from lance.fragment import FragmentMetadata

    if not fragments:
        return
    new = [FragmentMetadata.from_json(json.dumps(fragment)) for fragment in fragments]
    operation = lance.LanceOperation.Append(new)
    if replaced:
        former = f"path IN {sql_list(replaced)}"
        addresses = dataset.to_table(columns=[], filter=former, with_row_address=True)["_rowaddr"].to_pylist()
        removed, updated = [], []
        for number in sorted({address >> 32 for address in addresses}):
            fragment: Any = dataset.get_fragment(number)
            left = fragment.delete(former)
            removed, updated = ([*removed, number], updated) if left is None else (removed, [*updated, left])
        operation = lance.LanceOperation.Update(removed, updated, new)
    lance.LanceDataset.commit(dataset, operation, read_version=dataset.version)
