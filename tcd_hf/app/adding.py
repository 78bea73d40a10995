"""Adding videos while others search: progress as it goes, and what became of every file."""

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcd_hf.app.html_parts import literal, render_message
from tcd_hf.app.uploads import UploadFolder, videos_under
from tcd_hf.clock import clock
from tcd_hf.index.ingest import VideoProgress

if TYPE_CHECKING:
    from tcd_hf.index.ingest import AddReport
    from tcd_hf.index.video_index import VideoIndex

__all__ = ["Adder"]

FILES_AT_ONCE = 20  # uploads
WORKERS = 1  # a process of its own: a file that brings its reader down must not bring the server down
SECONDS_PER_SIGN = 0.5  # that work goes on


class Adder:
    """Brings videos into an index, one batch after the other.

    Args:
        index ([`VideoIndex`]): a handle of its own, with a processor of its own: a tokenizer serves one thread.
        uploads ([`UploadFolder`], *optional*): where uploaded videos are kept; without it nothing can be uploaded.
        roots (`Sequence[Path]`, *optional*): folders below which videos may be added by their paths.
    """

    def __init__(self, index: "VideoIndex", uploads: UploadFolder | None = None, roots: Sequence[Path] = ()):
        self.index = index
        self.uploads = uploads
        self.roots = list(roots)

    def add_uploaded(self, names: Any) -> Iterator[str]:
        """Adds files that were uploaded; those that cannot be read are removed again. Yields HTML, the report last.

        Args:
            names (`list[str]`): that [`UploadFolder.save`] gave; anything else, of whatever type, is refused.
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
        yield from self._add([file.as_posix() for file in files], discard_bad=True)

    def add_path(self, path: str) -> Iterator[str]:
        """Adds the video of a path, or all below a folder. Yields HTML, the report last."""
        try:
            if not self.roots:
                raise ValueError("This server adds nothing by its path.")
            files = videos_under(path, self.roots)
        except (ValueError, OSError) as error:
            yield render_message("Nothing was added", str(error))
            return
        yield from self._add(files)

    def _add(self, paths: Sequence[str], discard_bad: bool = False) -> Iterator[str]:
        done: queue.Queue[str | VideoProgress | AddReport | Exception] = queue.Queue()

        def run() -> None:
            try:
                report = self.index.add(paths, workers=WORKERS, on_video=done.put, on_progress=done.put)
                if discard_bad and report.skipped:
                    self._discard([video.path for video in report.skipped])
                done.put(report)
            except Exception as error:  # told on the page; the server goes on
                done.put(error)

        threading.Thread(target=run, daemon=True).start()
        finished: list[str] = []
        current: VideoProgress | None = None
        while True:
            yield _render_progress(finished, len(paths), current)
            try:
                news = done.get(timeout=SECONDS_PER_SIGN)
            except queue.Empty:
                continue
            if isinstance(news, VideoProgress):
                current = news
            elif isinstance(news, str):
                finished.append(news)
                current = None if current is not None and current.path == news else current
            else:
                break
        if isinstance(news, Exception):
            yield render_message("Adding stopped", str(news))
        else:
            yield _render_report(news, len(self.index))

    def _discard(self, paths: Sequence[str]) -> None:
        self.index.remove(paths)
        if self.uploads is not None:
            for path in paths:
                self.uploads.discard(Path(path).name)


def _render_progress(finished: Sequence[str], total: int, current: "VideoProgress | None") -> str:
    """How many files are done, and how far the reading of the present one is."""
    last = f": {literal(Path(finished[-1]).name)}" if finished else ""
    value, reading = float(len(finished)), ""
    if current is not None:
        value += min(1.0, current.seconds / current.duration)
        times = f"{clock(current.seconds)} of {clock(current.duration)}"
        reading = f"<p>{literal(Path(current.path).name)}: {times} read</p>"
    return (
        f'<div class="message" role="status"><b>Reading videos</b><p>{len(finished)} of {total} done{last}</p>{reading}'
        f'<progress max="{total}" value="{value:.3f}"></progress></div>'
    )


def _render_report(report: "AddReport", num_videos: int) -> str:
    groups = {"added": report.added, "replaced": report.replaced, "already there": report.unchanged}
    counts = [f"{len(paths)} {name}" for name, paths in groups.items() if paths]
    if report.skipped:
        counts.append(f"{len(report.skipped)} could not be read")
    bad = "".join(
        f"<li><b>{literal(Path(video.path).name)}</b> {literal(video.cause)}</li>" for video in report.skipped
    )
    return (
        f'<div class="message" role="status"><b>{", ".join(counts) or "Nothing to add"}</b>'
        f"<p>The index holds {num_videos:,} videos.</p>{f'<ul>{bad}</ul>' if bad else ''}</div>"
    )
