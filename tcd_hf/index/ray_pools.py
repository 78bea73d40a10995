"""What works in a Ray cluster: a pool of actors that read segments, and one of actors that encode them.

The two are stages of one stream of Ray Data, which holds back readers that encoders cannot follow, and begins again
what dies. What they are to do is fed to them as it becomes known: where a video is cut is found out by reading its
first segment.
"""

import pickle  # nosec B403 # between this package's own processes
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import pyarrow as pa

from tcd_hf.reading.video_reader import ReadSegment, SkippedVideo
from tcd_hf.reading.worker_pool import Result, Task, give_up
from tcd_hf.reading.workers import Failure, Workers

__all__ = ["Answer", "EncodingActor", "Part", "Pools", "ReadingActor"]

PARTS_PER_ACTOR = 2  # in flight: at work, and waiting to be
READERS_PER_ENCODER = 2  # at least, on CPUs
MAX_INIT_DEATHS = 10  # of actors in a row that die before they can begin
NO_PROGRESS_SECONDS = 900.0  # without any news: what is waited for can have no place any more

FIRST, LAST = b"first", b"last"  # what is fed before any part, and after all

Row = dict[str, bytes]  # a single column: Ray Data would take anything else apart


class Part(NamedTuple):
    """Tasks that one actor does, one after the other, and the number by which the answer is known."""

    number: int
    tasks: list[Task]


class Answer(NamedTuple):
    """What became of a task, and the row of its segment, if it was read and encoded."""

    task: Task
    result: Result
    row: pa.Table | None = None


class ReadingActor:
    """Reads parts, in a process of its own, so that a file that brings its decoder down takes no actor with it.

    Args:
        work (`bytes`): a pickled `SegmentReader`. Only that process needs what it imports.
        stall_seconds (`float`): see [`Workers`].
    """

    def __init__(self, work: bytes, stall_seconds: float):
        self._work, self._stall_seconds = _Pickled(work), stall_seconds

    def __call__(self, row: Row) -> Row:
        """Gives the answers, or what keeps all videos from being read: Ray would show errors as it sees fit."""
        return _apply(self._read, row)

    def _read(self, tasks: list[Task]) -> list[Answer]:
        skipped: set[str] = set()
        left = (task for task in tasks if task.file.path not in skipped)
        answers = []
        for task, result in self._workers.run(lambda: left):
            if isinstance(result, Failure):
                result = Result(give_up(task.file.path, result), [])
            if isinstance(result.read, SkippedVideo):
                skipped.add(task.file.path)
            answers.append(Answer(task, result))
        return answers

    @cached_property
    def _workers(self) -> Workers:
        return Workers(cast(Any, self._work), 1, self._stall_seconds, retry=Task.with_care)


class EncodingActor:
    """Encodes what was read of parts, on the GPU if it was given one.

    Args:
        model (`ray.ObjectRef`): of the model, on the CPU.
        padding_side (`str`), schema (`pa.Schema`): see `encode_segments`.
        batch_size (`int`, *optional*): segments to encode at once; see [`LocalEngine`].
    """

    def __init__(self, model: Any, padding_side: str, schema: pa.Schema, batch_size: int | None):
        self._model_ref, self._padding_side, self._schema = model, padding_side, schema
        self._batch_size = batch_size

    def __call__(self, row: Row) -> Row:
        """Gives the answers with rows, and without what was read."""
        return _apply(self._encode, row)

    def _encode(self, answers: list[Answer]) -> list[Answer]:
        from tcd_hf.index.encoding import encode_segments
        from tcd_hf.index.engines import batch_size_for

        were_read = [answer for answer in answers if isinstance(answer.result.read, ReadSegment)]
        encoded: list[Answer] = [answer for answer in answers if not isinstance(answer.result.read, ReadSegment)]
        size = self._batch_size or batch_size_for(self._model)
        for start in range(0, len(were_read), size):
            batch = were_read[start : start + size]
            reads = [cast(ReadSegment, answer.result.read) for answer in batch]
            rows = encode_segments(self._model, reads, self._padding_side, self._schema)
            encoded += map(_with_row, batch, reads, rows)
        return encoded

    @cached_property
    def _model(self) -> Any:
        import ray
        import torch

        model: Any = ray.get(self._model_ref)
        has_gpu = bool(ray.get_gpu_ids()) and torch.cuda.is_available()
        return model.to("cuda" if has_gpu else "cpu")


class Pools:
    """The pools of a Ray cluster, at work. A context manager; leaving it ends all that works.

    Args:
        work (`bytes`), stall_seconds (`float`): see [`ReadingActor`].
        model (`ray.ObjectRef`), padding_side (`str`), schema (`pa.Schema`), batch_size (`int`, *optional*): see
            [`EncodingActor`].
        num_readers (`int`): actors that read, a CPU each.
        num_gpus (`int`): actors that encode, a GPU each. Without any, CPUs encode: they are shared with readers, and
            there are as many as it takes.
    """

    def __init__(
        self,
        work: bytes,
        stall_seconds: float,
        model: Any,
        padding_side: str,
        schema: pa.Schema,
        batch_size: int | None,
        num_readers: int,
        num_gpus: int,
    ):
        import ray
        from ray.data import ActorPoolStrategy, DataContext
        from ray.util.queue import Queue

        # What feeds them lives and dies with this process, whatever becomes of other machines.
        here: dict[str, Any] = {
            "num_cpus": 0,
            "label_selector": {"ray.io/node-id": ray.get_runtime_context().get_node_id()},
        }
        most = max(1, num_readers // READERS_PER_ENCODER)
        encoders = ActorPoolStrategy(min_size=1, max_size=num_gpus or most)  # others may have some of them
        self.num_in_flight = PARTS_PER_ACTOR * (num_readers + (num_gpus or most))
        self._queue = Queue(actor_options=here)
        self._queue.put(FIRST)
        with DataContext.current(_data_context()):
            parts = ray.data.from_items([{"part": b""}], override_num_blocks=1).map_batches(
                cast(Any, _feed),
                fn_args=(self._queue,),
                batch_format="pyarrow",
                **here,
            )
            options: dict[str, Any] = {"fn_constructor_args": (work, stall_seconds), "num_cpus": 1}
            read = parts.map(
                cast(Any, ReadingActor),
                compute=ActorPoolStrategy(size=num_readers, max_tasks_in_flight_per_actor=PARTS_PER_ACTOR),
                **options,
            )
            options = {"fn_constructor_args": (model, padding_side, schema, batch_size), "num_cpus": 0}
            self._rows = read.map(
                cast(Any, EncodingActor), compute=encoders, num_gpus=1 if num_gpus else None, **options
            )

    def give(self, part: Part) -> None:
        """A further part to do."""
        self._queue.put(pickle.dumps(part))

    def end(self) -> None:
        """No more is to be done."""
        self._queue.put(LAST)

    def answers(self) -> Iterator[tuple[int, list[Answer] | str]]:
        """The number of each part that is done, and its answers, or what keeps all from being done."""
        for table in self._rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for data in cast(pa.Table, table)["part"].to_pylist():
                yield pickle.loads(data)  # nosec B301 # from an actor of ours

    def __enter__(self) -> "Pools":
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(Exception):  # it may be gone with the cluster
            self._queue.shutdown(force=True)  # without what feeds them they all end


def _data_context() -> Any:
    """How Ray Data is to work: as the user has it, but for what is needed here."""
    from ray.data import DataContext

    with warnings.catch_warnings():  # of options that are out of use, which it copies too
        warnings.simplefilter("ignore", DeprecationWarning)
        context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # bytes: no part waits for another
    context.max_errored_blocks = 0  # what is lost and not told would be waited for
    context.max_consecutive_actor_init_deaths = MAX_INIT_DEATHS
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS
    return context


class _Pickled:
    """What is pickled already: a process that unpickles it has the thing itself."""

    def __init__(self, data: bytes):
        self._data = data

    def __reduce__(self):
        return pickle.loads, (self._data,)


def _feed(batch: pa.Table, queue: Any) -> Iterator[pa.Table]:
    """Parts as they are given. Ray would begin it once more where it dies, but what it had taken is gone then."""
    from ray.exceptions import RayError
    from ray.util.queue import Empty

    try:
        if queue.get_nowait() == FIRST:
            while (part := queue.get()) != LAST:
                yield pa.table({"part": [part]})
            return
    except (Empty, RayError):
        pass
    raise RuntimeError("What feeds them has died.")


def _apply(work: Callable[[Any], Sequence[Answer]], row: Row) -> Row:
    """Does what an actor does with a part; one that has failed it passes on."""
    number, content = pickle.loads(row["part"])  # nosec B301 # from a process of ours
    if not isinstance(content, str):
        try:
            content = work(content)
        except Exception as error:
            content = f"{error} ({type(error).__name__})"
    return {"part": pickle.dumps((number, content))}


def _with_row(answer: Answer, read: ReadSegment, row: pa.Table | SkippedVideo) -> Answer:
    """The answer with the row in the place of all that it was made of."""
    if isinstance(row, SkippedVideo):
        return Answer(answer.task, Result(row, answer.result.others))
    record = replace(read.record, captions=[])
    return Answer(answer.task, answer.result._replace(read=replace(read, record=record, inputs={})), row)
