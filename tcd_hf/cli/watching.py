"""`tcd-hf index --watch`: an index that follows what becomes of folders."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tcd_hf.cli.common import reading_bar
from tcd_hf.cli.terminal import shown, stderr

if TYPE_CHECKING:
    from tcd_hf import VideoIndex
    from tcd_hf.index.ingest import AddReport
    from tcd_hf.index.progress import Progress
    from tcd_hf.reading.left_out import LeftOut
    from tcd_hf.reading.watching import FolderWatch

__all__ = ["follow"]


def follow(
    watch: "FolderWatch",
    index: "VideoIndex",
    sync: bool,
    take: "Callable[[Sequence[str], Progress], AddReport]",
    tell: "Callable[[Sequence[LeftOut], AddReport, Progress, float], None]",
) -> None:
    """Brings into an index what comes into folders, until Ctrl-C.

    Args:
        watch ([`FolderWatch`]): the folders.
        index ([`VideoIndex`]): opened with its model.
        sync (`bool`): remove from the index what is not in the folders, too.
        take (`Callable[[Sequence[str], Progress], AddReport]`): brings videos in.
        tell (`Callable[[Sequence[LeftOut], AddReport, Progress, float], None]`): tells what else is in the folders, at
            first, what became of the videos, and in how many seconds.
    """
    folders = ", ".join(map(str, watch.folders))
    stderr.print(f"Watching {shown(folders)}; Ctrl-C ends it.", soft_wrap=True, highlight=False)
    told_left_out = False
    try:
        for news in watch.news(lambda: _known(index) if sync else ()):
            start = time.perf_counter()
            with reading_bar("Indexing", news.complete, lambda: f"{len(index)} videos in {index.uri}") as progress:
                report = take(news.complete, progress)
                if news.gone:
                    report.removed = sorted(set(news.gone).intersection(index.paths))
                    index.remove(news.gone)  # those that could not be read, too
            tell([] if told_left_out else news.left_out, report, progress, time.perf_counter() - start)
            told_left_out = True
    except KeyboardInterrupt:
        stderr.print(
            f"Stopped watching {shown(folders)}; {shown(index.uri)} holds {len(index)} videos, and the same command "
            "goes on from there.",
            soft_wrap=True,
            highlight=False,
        )


def _known(index: "VideoIndex") -> list[str]:
    """All paths that the index tells something of."""
    return [*index.paths, *index.errors]
