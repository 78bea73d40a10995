"""`tcd-hf serve`: a page to search an index on."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from tcd_hf.app.server import DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_UPLOADS, DEFAULT_UPLOAD_MB
from tcd_hf.cli.common import (
    CacheDirOption,
    DeviceOption,
    IndexesOption,
    ModelOption,
    OcrEngineOption,
    RevisionOption,
    named_model,
    open_indexes,
    reports_errors,
    stdout,
)
from tcd_hf.cli.quick_start import quick_start
from tcd_hf.cli.reading import MaxPixelsOption, Reading, StallSecondsOption
from tcd_hf.cli.terminal import shown

__all__ = ["serve"]


@reports_errors
def serve(
    index_uris: IndexesOption,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    uploads: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Allow uploads, and keep them in this folder."),
    ] = None,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Megabytes that one upload may have.")] = DEFAULT_UPLOAD_MB,
    max_uploads: Annotated[
        int, typer.Option(min=1, help="Files that the folder of uploads may hold.")
    ] = DEFAULT_MAX_UPLOADS,
    allow_add: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Allow adding videos that lie below this folder, by their paths."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name the page is asked for by, as behind a proxy."),
    ] = None,
    max_connections: Annotated[
        int,
        typer.Option(min=0, help="Connections that one address may have at once; 0 for any number, as behind a proxy."),
    ] = DEFAULT_MAX_CONNECTIONS,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Processes that search, each with the model in its memory; 1 is the server's own."),
    ] = 1,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Serve counters for Prometheus at /metrics, to all who reach the address.")
    ] = False,
    model: ModelOption = None,
    revision: RevisionOption = None,
    device: DeviceOption = None,
    ocr_engine: OcrEngineOption = None,
    stall_seconds: StallSecondsOption = None,
    max_pixels: MaxPixelsOption = None,
    cache_dir: CacheDirOption = None,
) -> None:
    """Search an index on a page in the browser: player, the matching text boxed, what was read when.

    With --index more than once, all of them are searched as one, and what is added goes to the first.

    Everybody who can reach the address can search and see the clips of the index; there is no login.
    """
    from tcd_hf.app.server import build_app, listen, own_names, serve_app

    logging.getLogger("tcd_hf.index").setLevel(logging.INFO)  # a large index says when its vectors are in memory
    with listen(host, port) as listener:  # first: what is wrong with an address is told before a model is loaded
        reading = Reading(ocr_engine, max_pixels=max_pixels, stall_seconds=stall_seconds)
        index = open_indexes(index_uris, named_model(model, revision), reading, cache_dir, device=device)
        with quick_start():
            app = build_app(
                index,
                uploads=uploads,
                allow_add=allow_add or [],
                hosts=[*own_names(host), *(allow_host or [])],
                max_upload_mb=max_upload_mb,
                max_uploads=max_uploads,
                search_processes=workers,
                with_metrics=metrics,
                **reading.limits,
            )
            from tcd_hf.app.limits import Limits  # only now: without Gradio, the line before says what to install
        address = f"[{host}]" if ":" in host else host
        named = shown(", ".join(index_uris))
        stdout.print(
            f"{named}, {len(index)} videos: [bold]http://{shown(address)}:{port}[/]  (Ctrl-C ends)",
            soft_wrap=True,
            highlight=False,
        )
        serve_app(app, listener, Limits(connections=max_connections))
