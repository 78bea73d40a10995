"""Adding videos while others search: progress as it goes, and what became of every file."""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tcd_hf.app.html_parts import literal, render_message
from tcd_hf.app.server import DEFAULT_UPLOAD_STALL_SECONDS
from tcd_hf.app.uploads import UploadFolder, videos_under
from tcd_hf.clock import clock
from tcd_hf.index.progress import VideoProgress
from tcd_hf.reading.left_out import LeftOut, describe_left_out

if TYPE_CHECKING:
    from tcd_hf.app.metrics import Metrics
    from tcd_hf.index.ingest import AddReport
    from tcd_hf.index.joint_index import JointIndex
    from tcd_hf.index.video_index import VideoIndex

__all__ = ["Adder"]

logger = logging.getLogger(__name__)

FILES_AT_ONCE = 20  # uploads; and of a folder, between two times that they are committed
MAX_ADDING = 8  # batches that are read at once, each in a process; others wait, also those of pages that are closed
WORKERS = 1  # a process of its own: a file that brings its reader down must not bring the server down
SECONDS_PER_SIGN = 0.5  # that work goes on
LEFT_OUT_SHOWN = 200  # files
SILENCE_SECONDS = 10.0  # after which the page says that nothing is new
OTHERS_ADD = "As many add videos at the moment as can at once; waiting until one is done."
ANOTHER_WRITES = "Another process or visitor is writing to the index; waiting until it is done."


class Waiting(NamedTuple):
    """That a batch waits for others, in words, or `None` when it goes on."""

    message: str | None


class Adder:
    """Brings videos into an index. What several visitors add at once is read side by side, in a process for each; only
    a commit waits for another, so that a file that takes long, or gives nothing, is in nobody's way.

    Args:
        index ([`VideoIndex`] or [`JointIndex`]): a handle of its own, with a processor of its own: a tokenizer serves
            one thread. Of several, videos go to the first.
        uploads ([`UploadFolder`], *optional*): where uploaded videos are kept; without it nothing can be uploaded.
        roots (`Sequence[Path]`, *optional*): folders below which videos may be added by their paths.
        stall_seconds (`float`, *optional*, defaults to 30): a file that gives nothing for so long is left out.
        metrics ([`Metrics`], *optional*): where what becomes of files is counted.
    """

    def __init__(
        self,
        index: "VideoIndex | JointIndex",
        uploads: UploadFolder | None = None,
        roots: Sequence[Path] = (),
        stall_seconds: float = DEFAULT_UPLOAD_STALL_SECONDS,
        metrics: "Metrics | None" = None,
    ):
        self.index = index
        self.uploads = uploads
        self.roots = list(roots)
        self.stall_seconds = stall_seconds
        self._metrics = metrics
        self._free = deque([index])  # handles that no batch has
        self._batches: list[_Batch] = []
        self._turns = threading.Semaphore(MAX_ADDING)

    def add_uploaded(self, names: Any, visitor: str = "") -> Iterator[str]:
        """Adds files that were uploaded; those that are not added are removed again. Yields HTML, the report last.

        Args:
            names (`list[str]`): that [`UploadFolder.save`] gave; anything else, of whatever type, is refused.
            visitor (`str`, *optional*): who adds them, for [`~Adder.cancel`].
        """
        try:
            if self.uploads is None:
                raise ValueError("This server takes no uploads.")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("The files to add are a list of names.")
            if not 1 <= len(names) <= FILES_AT_ONCE:
                raise ValueError(f"1 to {FILES_AT_ONCE} files can be added at once, got {len(names)}.")
            files = [self.uploads.path(name) for name in names]
        except ValueError as error:
            yield render_message("Nothing was added", str(error))
            return
        yield from self._add([file.as_posix() for file in files], visitor, discard_bad=True)

    def add_path(self, path: str, visitor: str = "") -> Iterator[str]:
        """Adds the video of a path, or all below a folder. Yields HTML, the report last."""
        try:
            if not self.roots:
                raise ValueError("This server adds nothing by its path.")
            files, left_out = videos_under(path, self.roots)
        except (ValueError, OSError) as error:
            yield render_message("Nothing was added", str(error))
            return
        yield from self._add(files, visitor, left_out=left_out)

    def cancel(self, visitor: str) -> None:
        """Ends what a visitor adds at the moment; what is done of it stays. Another visitor's goes on."""
        for batch in list(self._batches):
            if batch.visitor == visitor:
                batch.cancelled.set()

    def _add(
        self, paths: Sequence[str], visitor: str, discard_bad: bool = False, left_out: Sequence[LeftOut] = ()
    ) -> Iterator[str]:
        batch = _Batch(visitor, paths, discard_bad, self.stall_seconds, left_out)
        self._batches.append(batch)
        threading.Thread(target=self._run, args=(batch,), daemon=True).start()
        while True:
            yield batch.render_progress()
            try:
                news = batch.news.get(timeout=SECONDS_PER_SIGN)
            except queue.Empty:
                continue
            if isinstance(news, Exception):
                yield render_message("Adding stopped", str(news))
                return
            if isinstance(news, int):
                yield batch.render_report(news)
                return
            batch.take_note(news)

    def _run(self, batch: "_Batch") -> None:
        """Adds a batch, some files at a time: those that are done can be found before the last one is."""
        index, has_turn = None, self._wait_for_turn(batch)
        try:
            index = self._take_handle()
            try:
                for start in range(0, len(batch.paths), FILES_AT_ONCE):
                    if batch.cancelled.is_set():
                        break
                    self._add_files(index, batch.paths[start : start + FILES_AT_ONCE], batch)
            finally:
                self._discard_left(index, batch)
            batch.news.put(len(index))
        except Exception as error:  # told on the page; the server goes on
            batch.news.put(error)
            if self._metrics is not None:
                self._metrics.errors.labels("add").inc()
        finally:
            self._batches.remove(batch)
            if index is not None:
                self._free.append(index)
            if has_turn:
                self._turns.release()

    def _wait_for_turn(self, batch: "_Batch") -> bool:
        """Whether it has one: who cancels gives it up. Gradio's limit does not do, as it forgets a page that is closed
        while its batch goes on."""
        if self._turns.acquire(blocking=False):
            return True
        batch.news.put(Waiting(OTHERS_ADD))
        while not batch.cancelled.is_set():
            if self._turns.acquire(timeout=SECONDS_PER_SIGN):
                batch.news.put(Waiting(None))
                return True
        return False

    def _take_handle(self) -> "VideoIndex | JointIndex":
        try:
            return self._free.popleft()
        except IndexError:
            return self.index.new_handle()

    def _discard_left(self, index: "VideoIndex | JointIndex", batch: "_Batch") -> None:
        """Removes uploads that were not added. An error may have come when the rows of one were written already."""
        if batch.discards_bad and self.uploads is not None and batch.left:
            for path in set(batch.left).difference(index.paths):
                self.uploads.discard(Path(path).name)

    def _add_files(self, index: "VideoIndex | JointIndex", paths: Sequence[str], batch: "_Batch") -> None:
        told = batch.news.put
        options = {"workers": WORKERS, "stall_seconds": self.stall_seconds, "stop": batch.cancelled, "alongside": True}

        def on_wait(message: str | None) -> None:
            if message is not None:  # with the command line of another process, which is no visitor's business
                logger.warning("%s", message)
            told(Waiting(message and ANOTHER_WRITES))

        report = index.add(paths, on_video=told, on_progress=told, on_wait=on_wait, **options)
        batch.reports.append(report)
        if self._metrics is not None:
            self._metrics.count_files(report)
        if report.skipped and batch.discards_bad:
            bad = [video.path for video in report.skipped]
            index.parts[0].remove(bad, stop=batch.cancelled)
            if self.uploads is not None:
                for path in bad:
                    self.uploads.discard(Path(path).name)


class _Batch:
    """What one visitor adds at once, and how far it is."""

    def __init__(
        self,
        visitor: str,
        paths: Sequence[str],
        discards_bad: bool,
        stall_seconds: float,
        left_out: Sequence[LeftOut],
    ):
        self.visitor, self.paths, self.discards_bad = visitor, paths, discards_bad
        self.stall_seconds, self.left_out = stall_seconds, left_out
        self.cancelled = threading.Event()
        self.news: queue.Queue[str | VideoProgress | Waiting | int | Exception] = queue.Queue()
        self.reports: list[AddReport] = []
        self._finished: list[str] = []
        self._current: VideoProgress | None = None
        self._waits: str | None = None
        self._last_news = time.monotonic()

    @property
    def left(self) -> list[str]:
        """What it was cancelled before."""
        done = [[*report.added, *report.replaced, *report.unchanged] for report in self.reports]
        skipped = [video.path for report in self.reports for video in report.skipped]
        return [path for path in self.paths if path not in {*chain(*done), *skipped}]

    def take_note(self, news: "str | VideoProgress | Waiting") -> None:
        """A video that is done, or a segment of it, or that it waits for another process."""
        self._last_news = time.monotonic()
        if isinstance(news, Waiting):
            self._waits = news.message
        elif isinstance(news, VideoProgress):
            self._current = news
        else:
            self._finished.append(news)
            self._current = None

    def render_progress(self) -> str:
        """How many files are done, and how far the reading of the present one is."""
        value, lines = float(len(self._finished)), [f"{len(self._finished)} of {len(self.paths)} done"]
        if self._finished:
            lines[0] += f": {literal(Path(self._finished[-1]).name)}"
        if (current := self._current) is not None:
            value += min(1.0, current.seconds / current.duration)
            times = f"{clock(current.seconds)} of {clock(current.duration)}"
            lines.append(f"{literal(Path(current.path).name)}: {times} read")
        silence = time.monotonic() - self._last_news
        if self._waits is not None:
            lines.append(literal(self._waits))
        elif silence > SILENCE_SECONDS:
            lines.append(
                f"Nothing new for {silence:.0f} s. What gives nothing for {self.stall_seconds:g} s is left out."
            )
        head = "Reading videos" if self._waits is None else "Waiting"
        return (
            f'<div class="message" role="status"><b>{"Cancelling" if self.cancelled.is_set() else head}</b>'
            f"{''.join(f'<p>{line}</p>' for line in lines)}"
            f'<progress max="{len(self.paths)}" value="{value:.3f}"></progress></div>'
        )

    def render_report(self, num_videos: int) -> str:
        """What became of every file."""
        groups = {"added": "added", "replaced": "replaced", "unchanged": "already there"}
        counts = {name: sum(len(getattr(report, group)) for report in self.reports) for group, name in groups.items()}
        skipped = [video for report in self.reports for video in report.skipped]
        counts |= {"could not be read": len(skipped), "left when it was cancelled": len(self.left)}
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        bad = "".join(f"<li><b>{literal(Path(video.path).name)}</b> {literal(video.cause)}</li>" for video in skipped)
        return (
            f'<div class="message" role="status"><b>{said or "Nothing to add"}</b>'
            f"<p>The index holds {num_videos:,} videos.</p>{f'<ul>{bad}</ul>' if bad else ''}"
            f"{self._render_left_out()}</div>"
        )

    def _render_left_out(self) -> str:
        if not self.left_out:
            return ""
        names = [literal(file.path) for file in self.left_out[:LEFT_OUT_SHOWN]]
        if rest := len(self.left_out) - len(names):
            names.append(f"and {rest:,} others")
        listed = "".join(f"<li>{name}</li>" for name in names)
        return f"<details><summary>{literal(describe_left_out(self.left_out))}</summary><ul>{listed}</ul></details>"
