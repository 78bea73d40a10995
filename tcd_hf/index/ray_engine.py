"""`VideoIndex.add` on a Ray cluster: actors read and encode segments, and this process commits the rows."""

import contextlib
import copy
import itertools
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from tcd_hf.index.encoding import BegunVideos
from tcd_hf.index.ingest import Ingest
from tcd_hf.index.ray_pools import Answer, Part, Pools
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.reading.video_reader import SkippedVideo, VideoFile, VideoReader
from tcd_hf.reading.worker_pool import SegmentReader, Tasks
from tcd_hf.reading.workers import DEFAULT_STALL_SECONDS

__all__ = ["RayEngine", "check_ray"]

logger = logging.getLogger(__name__)

SEGMENTS_PER_PART = 4  # at most: what an actor is given at once, and a GPU encodes at once
PARTS_PER_READER = 4  # at least, where there is enough to do: the last to finish is not far behind the others
MAX_LOSSES = 5  # of all that works, without a part done in between


def check_ray(workers: int | None) -> None:
    """Refuses what the engine `"ray"` cannot do, before others have to wait.

    Args:
        workers (`int`, *optional*): as of [`RayEngine`].

    Raises:
        ImportError: Ray is not installed; says how to install it.
        ValueError: `workers` is not positive.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1 with Ray, got {workers}.")
    # Ray reads these when it is imported; its log of ordinary work would go to the user's terminal.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ImportError(f'The engine "ray" needs further packages ({error}): pip install "tcd-hf[ray]"') from error


class RayEngine:
    """The engine `"ray"` of [`VideoIndex.add`]: spreads the work over a Ray cluster, segment by segment.

    Actors open the videos by their paths, and keep captions in the folder of the cache: both must be in the same places
    on every machine, such as on a shared disk. One pool of actors reads, on CPUs; another encodes, on the GPUs of the
    cluster, or where it has none, on CPUs too. This process hands out what there is to do, a few segments at a time,
    and commits rows as the engine `"local"` does.

    What an actor or a machine that dies had in hand is done again by others. If this process dies, a run that is
    started again goes on from the last commit, and from the captions in the cache.

    Args:
        model (`TCDModel`): computes features.
        reader ([`VideoReader`]): reads files, and makes the model's inputs.
        padding_side (`"right"` or `"left"`): of the tokenizer.
        workers (`int`, *optional*): Ray actors that read, one CPU each; all CPUs of the cluster by default. Joins the
            cluster that runs on this machine or that `RAY_ADDRESS` names; without one, starts one here until the work
            is done.
        stall_seconds (`float`, *optional*, defaults to 120): see [`VideoIndex.add`].
        batch_size (`int`, *optional*): segments to encode at once; see [`VideoIndex.open`].

    Raises:
        ValueError: more `workers` than the cluster has CPUs, when it is called.
        RuntimeError: an actor cannot work, whatever the video, or the cluster is gone, when it is called; names the
            cause.
    """

    def __init__(
        self,
        model: TCDModel,
        reader: VideoReader,
        padding_side: str,
        workers: int | None = None,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        batch_size: int | None = None,
    ):
        self.batch_size = batch_size
        self.model, self.reader, self.padding_side = model, reader, padding_side
        self.workers, self.stall_seconds = workers, stall_seconds

    def __call__(self, ingest: Ingest, files: Iterable[VideoFile], num_files: int) -> None:
        files = iter(files)
        if (first := next(files, None)) is None:
            return
        videos, tasks = BegunVideos(ingest), Tasks(itertools.chain([first], files))
        with _cluster(self.workers), _quiet():
            for answer in _Run(self, ingest, tasks, num_files).answers():
                for read in tasks.settle(answer.task, answer.result):
                    if isinstance(read, SkippedVideo):
                        videos.skip(read)
                    elif answer.row is not None:  # as of all that were read
                        videos.add(read, answer.row)


class _Run:
    """What is in flight in a cluster, and begins again where it is lost."""

    def __init__(self, engine: RayEngine, ingest: Ingest, tasks: Tasks, num_files: int):
        import cloudpickle
        import ray

        self.engine, self.tasks, self.num_files = engine, tasks, num_files
        self._options = {
            "work": cloudpickle.dumps(SegmentReader(engine.reader)),
            "stall_seconds": engine.stall_seconds,
            "model": ray.put(copy.deepcopy(engine.model).cpu()),
            "padding_side": engine.padding_side,
            "schema": ingest.schema,
            "batch_size": engine.batch_size,
        }
        self._in_flight: dict[int, Part] = {}
        self._numbers = itertools.count()

    def answers(self) -> Iterator[Answer]:
        """What becomes of all tasks, as they are done."""
        from ray.data.exceptions import ExecutionTimeoutError
        from ray.exceptions import RayError

        losses = 0
        while True:
            try:
                for answer in self._work():
                    losses = 0
                    yield answer
                return
            except (RayError, ExecutionTimeoutError) as error:
                losses += 1
                if losses == MAX_LOSSES:
                    raise RuntimeError(f"Ray had to give up: {error}") from error
                cause = (str(error).strip() or type(error).__name__).rpartition("\n")[2]
                logger.warning("All actors of the Ray cluster begin anew: %s", cause)

    def _work(self) -> Iterator[Answer]:
        """Works with what the cluster has now; first at what was lost."""
        import ray
        from ray.exceptions import WorkerCrashedError

        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        num_readers = max(1, min(self.engine.workers or cpus, cpus))
        with Pools(**self._options, num_readers=num_readers, num_gpus=gpus) as pools:
            for part in self._in_flight.values():
                pools.give(part)
            self._hand_out(pools, num_readers)
            for number, answers in pools.answers() if self._in_flight else ():
                if isinstance(answers, str):
                    raise RuntimeError(f"A Ray worker had to give up: {answers}")
                del self._in_flight[number]
                yield from answers
                self._hand_out(pools, num_readers)
                if not self._in_flight:
                    pools.end()
        if self._in_flight:  # what feeds them has died, and to Ray its end is that of all there is to do
            raise WorkerCrashedError

    def _hand_out(self, pools: Pools, num_readers: int) -> None:
        """Gives out what there is to do, and no more than will be done soon: files are hashed until then."""
        while len(self._in_flight) < pools.num_in_flight:
            ready = max(self.tasks.num_begun, self.num_files)
            size = max(1, min(SEGMENTS_PER_PART, ready // (PARTS_PER_READER * num_readers)))
            some = list(itertools.islice(self.tasks.take(), size))
            if not some:
                return
            part = Part(next(self._numbers), some)
            self._in_flight[part.number] = part
            pools.give(part)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Ray from telling of its ordinary work, and pages of what is lost and done again."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.CRITICAL)
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextlib.contextmanager
def _cluster(num_workers: int | None) -> Iterator[None]:
    """Makes sure that there is a Ray cluster, with so many CPUs."""
    import ray.data

    started = not ray.is_initialized()
    if started:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        with warnings.catch_warnings():  # LanceDB's of forks; these become other programs at once
            warnings.simplefilter("ignore")
            try:
                ray.init(address="auto", **quiet)
            except ConnectionError:  # none is running: one for us alone
                ray.init(address="local", num_cpus=num_workers, include_dashboard=False, **quiet)
    try:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if (num_workers or 1) > cpus:
            raise ValueError(f"{num_workers or 1} workers need as many CPUs, but the Ray cluster has {cpus}.")
        yield
    finally:
        if started:
            ray.shutdown()
