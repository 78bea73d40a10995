"""The server: own routes for media, Gradio's page, and a guard before both."""

import logging
import os
import socket
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tcd_hf.app.library import Library
    from tcd_hf.app.limits import Limits
    from tcd_hf.app.pictures import Thumbnails
    from tcd_hf.index.joint_index import JointIndex
    from tcd_hf.index.video_index import VideoIndex

__all__ = ["build_app", "listen", "own_names", "serve_app"]

logger = logging.getLogger(__name__)

DEFAULT_UPLOAD_MB = 500
DEFAULT_MAX_UPLOADS = 200
DEFAULT_UPLOAD_STALL_SECONDS = 30.0
DEFAULT_MAX_CONNECTIONS = 100


def build_app(
    index: "VideoIndex | JointIndex",
    uploads: str | os.PathLike | None = None,
    allow_add: Sequence[str | os.PathLike] = (),
    hosts: Iterable[str] = (),
    max_upload_mb: int = DEFAULT_UPLOAD_MB,
    max_uploads: int = DEFAULT_MAX_UPLOADS,
    stall_seconds: float = DEFAULT_UPLOAD_STALL_SECONDS,
    search_processes: int = 1,
    with_metrics: bool = False,
) -> "FastAPI":
    """The search page of an index as an ASGI application.

    It serves the page, the API endpoint `/search` (for `gradio_client`) and media of clips of the index, no other file.

    Args:
        index ([`VideoIndex`] or [`JointIndex`]): opened with its model and processor, or one that can load them. What
            is added goes to the first of several.
        uploads (`str | os.PathLike`, *optional*): folder in which uploaded videos are kept; without it there are none.
        allow_add (`Sequence[str | os.PathLike]`, *optional*): folders below which videos may be added by their paths.
        hosts (`Iterable[str]`, *optional*): names that it answers to, besides localhost and numeric addresses.
        max_upload_mb (`int`, *optional*, defaults to 500): that one uploaded file may have.
        max_uploads (`int`, *optional*, defaults to 200): files that the folder of uploads may hold.
        stall_seconds (`float`, *optional*, defaults to 30): a video that is added and gives nothing for so long is left
            out. Frames may have as many pixels as the processor of the index allows (`max_pixels`).
        search_processes (`int`, *optional*, defaults to 1): that search, each with the model and the vectors of the
            index in its memory; of one alone, that is this process. From 2 on they are started here, and end with the
            application.
        with_metrics (`bool`, *optional*, defaults to `False`): serve counters for Prometheus at `/metrics`, to all who
            may ask.

    Raises:
        ImportError: Gradio or prometheus_client is not installed.
        WorkerError: there can be no processes that search.
        ValueError: an index whose model was not given and cannot be loaded, or a folder that is none.
    """
    try:
        import gradio as gr
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise ImportError(f"The search page needs {error.name}: pip install 'tcd-hf[app]'.") from error
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    from tcd_hf.app.adding import Adder
    from tcd_hf.app.guard import Guard
    from tcd_hf.app.library import ClipError, Library
    from tcd_hf.app.page import CSS, THEME, make_page
    from tcd_hf.app.pictures import Thumbnails
    from tcd_hf.app.routes import clip_routes, upload_routes, watching_routes
    from tcd_hf.app.search_processes import SearchProcesses
    from tcd_hf.app.uploads import UploadFolder
    from tcd_hf.reading.cache import default_cache_dir

    roots = [Path(folder).expanduser().absolute() for folder in allow_add]
    if missing := [folder for folder in roots if not folder.is_dir()]:
        raise ValueError(f"There is no folder {missing[0]}: videos can be added only from a folder that is there.")
    folder = None if uploads is None else UploadFolder(Path(uploads), max_upload_mb, max_uploads)
    if search_processes < 1:
        raise ValueError(f"search_processes must be at least 1, got {search_processes}.")
    library = Library(index, SearchProcesses(index, search_processes) if search_processes > 1 else None)
    cache = index.cache.folder if isinstance(index.cache.folder, Path) else default_cache_dir()
    thumbnails = Thumbnails(library, cache / "thumbnails")
    adder = Adder(index.new_handle(), folder, roots, stall_seconds, library.metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        stop = threading.Event()
        warm_up = threading.Thread(target=_warm_up, args=(library, thumbnails, stop), name="warm-up", daemon=True)
        warm_up.start()
        yield
        stop.set()
        library.searches.close()
        warm_up.join()  # Python must not end while native code of another thread runs: that brings it down

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, hosts=hosts)
    app.add_exception_handler(ClipError, lambda request, error: PlainTextResponse(str(error), 404))
    app.include_router(clip_routes(library, thumbnails))
    app.include_router(watching_routes(library, with_metrics))
    if folder is not None:
        app.include_router(upload_routes(folder))
    page = make_page(library, adder)
    options = {"theme": THEME, "css": CSS, "footer_links": [], "run_history": False, "ssr_mode": False, "pwa": False}
    undocumented = {"docs_url": None, "redoc_url": None, "openapi_url": None}
    return gr.mount_gradio_app(app, page, path="/", app_kwargs=undocumented, **options)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; whoever asks waits until the server is ready.

    Args:
        host (`str`): a name or an address, of IPv4 or IPv6.
        port (`int`): 0 takes any that is free.

    Raises:
        ValueError: an address that this machine does not have, a port that is taken or not allowed.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise ValueError(f"There is no address {host!r}: choose another --host, such as 127.0.0.1.") from error
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        raise ValueError(
            f"Cannot listen on port {port} of {host}: {os.strerror(error.errno or 0)}. Choose another --port, or "
            "another --host."
        ) from error


def serve_app(app: "FastAPI", listener: socket.socket, limits: "Limits | None" = None) -> None:
    """Serves on a socket that listens, until interrupted.

    Args:
        app (`FastAPI`): what [`build_app`] gave.
        listener (`socket.socket`): what [`listen`] gave.
        limits ([`Limits`], *optional*): of connections; those of `Limits()` by default.
    """
    import uvicorn

    from tcd_hf.app.limits import Limits, limited

    # Its own configuration of logging would close the handlers of the process that it is part of.
    options: dict = {"ws": "none", "log_level": "error", "log_config": None, "server_header": False}
    config = uvicorn.Config(app, http=limited(limits or Limits()), **options)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def own_names(host: str) -> list[str]:
    """What a server at this address may be called."""
    is_any = host in ("0.0.0.0", "::")  # nosec B104 # compared with, not listened on
    return [host, socket.gethostname(), socket.getfqdn()] if is_any else [host]


def _warm_up(library: "Library", thumbnails: "Thumbnails", stop: threading.Event) -> None:
    try:
        query, count = "a first search loads what later ones need", library.searches.num_processes
        with ThreadPoolExecutor(count) as visitors:  # one for each process
            list(visitors.map(library.try_search, [query] * count))
    except Exception as error:  # told at /healthz, too
        if not stop.is_set():
            logger.warning("The first search failed: %s", error)
    library.ready.set()
    thumbnails.draw_ahead(stop)
