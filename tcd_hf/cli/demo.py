"""`tcd-hf demo`: the whole way on clips made on the spot, offline."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from tcd_hf.cli.common import fail, load, reports_errors, stdout
from tcd_hf.cli.hit_table import print_hits
from tcd_hf.cli.search import add_videos

__all__ = ["demo"]

HITS_SHOWN = 3
DETECTION_SIDE = 640  # pixels; the demo's letters are large, and reading is what takes its time


@reports_errors
def demo(
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the clips here instead of deleting them.")
    ] = None,
) -> None:
    """Make a few small clips with moving text, then find them by what they show. Needs no network.

    Ends with status 1 if a query does not find its clip first.
    """
    from tcd_hf import VideoIndex
    from tcd_hf.demo import DEMO_QUERIES, render_demo_clips

    with tempfile.TemporaryDirectory() as temporary:
        clock = time.perf_counter()
        paths = render_demo_clips(output or Path(temporary) / "clips")
        stdout.print(f"Rendered {len(paths)} clips into {paths[0].parent} in {time.perf_counter() - clock:.1f} s.")

        clock = time.perf_counter()
        model, processor = load()
        processor.ocr_options = {"limit_side_len": DETECTION_SIDE}
        index = VideoIndex.create(Path(temporary) / "index", model, processor, cache_dir=Path(temporary) / "cache")
        add_videos(index, [str(path) for path in paths])
        stdout.print(f"Read their text and frames in {time.perf_counter() - clock:.1f} s.")

        clock = time.perf_counter()
        results = index.search(list(DEMO_QUERIES), top_k=HITS_SHOWN)
        seconds = time.perf_counter() - clock
    wrong = []
    for (query, name), hits in zip(DEMO_QUERIES.items(), results, strict=True):
        print_hits(query, hits, folder=paths[0].parent)
        if Path(hits[0].path).name != name:
            wrong.append(f"{query!r} should find {name} first, found {Path(hits[0].path).name}")
    stdout.print(f"Answered {len(DEMO_QUERIES)} queries in {seconds:.2f} s.")
    if wrong:
        raise fail("; ".join(wrong))
    stdout.print(f"[green]All {len(DEMO_QUERIES)} queries found their clip first.[/]")
