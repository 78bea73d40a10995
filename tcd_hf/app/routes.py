"""The server's own routes: videos, pictures and captions of the clips of an index, by their ids."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from pydantic import AfterValidator
from starlette.requests import ClientDisconnect

from tcd_hf.app.clip_view import render_clip, render_moments, render_transcript
from tcd_hf.app.library import ClipError, Library
from tcd_hf.app.metrics import CONTENT_TYPE_LATEST
from tcd_hf.app.pictures import Thumbnails, draw_evidence
from tcd_hf.app.uploads import UploadError
from tcd_hf.choices import DEFAULT_WITHIN
from tcd_hf.index.query_syntax import MAX_QUERY_LENGTH

if TYPE_CHECKING:
    from tcd_hf.app.uploads import UploadFolder

__all__ = ["clip_routes", "upload_routes", "watching_routes"]

# Of what players in browsers know; anything else is sent as bytes, never as something that a browser would run.
MEDIA_TYPES = {
    ".3gp": "video/3gpp",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/mp4",  # of one family; browsers refuse the name video/quicktime, not the content
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".ogv": "video/ogg",
    ".webm": "video/webm",
}
KEEP = {"cache-control": "private, max-age=3600"}
ASK_AGAIN = {"cache-control": "no-store"}
Question = Annotated[str, AfterValidator(lambda text: text.strip()[:MAX_QUERY_LENGTH])]  # as the page cuts it
Within = Annotated[float, Query(ge=0)]
Filter = Annotated[str, Query(alias="filter", max_length=MAX_QUERY_LENGTH)]


def clip_routes(library: Library, thumbnails: Thumbnails) -> APIRouter:
    """What is shown of a clip, by its id, see [`video_id`]; there is no other way to name a file. Times are seconds.

    * `/video/ID`: the file, whole or the bytes that are asked for.
    * `/thumbnail/ID?t=`: a small picture.
    * `/evidence/ID?query=&start=`: a frame with the texts outlined that match.
    * `/clip/ID?query=&within=`: the player and what is around it.
    * `/moments/ID?query=&within=`: its timeline, and all moments that match.
    * `/transcript/ID?query=&around=&filter=`: what was read in it, around a time, or all that holds a text.

    Errors are plain text for the reader.
    """
    router = APIRouter()

    @router.get("/video/{clip_id}")
    @router.head("/video/{clip_id}")
    def video(clip_id: str) -> Response:
        clip = library.clip(clip_id)
        library.check(clip)
        suffix = clip.path[clip.path.rfind(".") :].lower()
        media_type = MEDIA_TYPES.get(suffix, "application/octet-stream")
        return FileResponse(clip.path, media_type=media_type, headers=ASK_AGAIN)  # it answers questions for ranges

    @router.get("/thumbnail/{clip_id}")
    def thumbnail(clip_id: str, t: float = 0.0) -> Response:
        return _picture(lambda: thumbnails.get(library.clip(clip_id), t))

    @router.get("/evidence/{clip_id}")
    def evidence(clip_id: str, query: Question = "", start: float = 0.0) -> Response:
        clip = library.clip(clip_id)
        library.check(clip)
        captions = library.captions(clip, around=start)
        return _picture(lambda: draw_evidence(clip, captions, start, query))

    @router.get("/clip/{clip_id}")
    def show(clip_id: str, query: Question = "", within: Within = DEFAULT_WITHIN) -> Response:
        clip, problem = library.clip(clip_id), None
        try:
            library.check(clip)
        except ClipError as error:
            problem = str(error)
        return HTMLResponse(render_clip(clip, query, problem, within), headers=ASK_AGAIN)

    @router.get("/moments/{clip_id}")
    def moments(clip_id: str, query: Question = "", within: Within = DEFAULT_WITHIN) -> Response:
        clip = library.clip(clip_id)
        found = library.moments(query, clip, within)
        return HTMLResponse(render_moments(clip, found, library.transcript(clip).cues, query), headers=ASK_AGAIN)

    @router.get("/transcript/{clip_id}")
    def transcript(
        clip_id: str, query: Question = "", around: float | None = None, containing: Filter = ""
    ) -> Response:
        clip = library.clip(clip_id)
        cues = library.transcript(clip).filter(containing)
        return HTMLResponse(render_transcript(clip, cues, query, around), headers=ASK_AGAIN)

    return router


def watching_routes(library: Library, with_metrics: bool) -> APIRouter:
    """What machines ask that watch the server; nothing in it tells what is searched for, or where the index is.

    * `/healthz`: JSON; status 503 while it cannot search.
    * `/metrics`: counters in Prometheus' text form, only `with_metrics`.
    """
    router = APIRouter()

    @router.get("/healthz")
    def health() -> Response:
        if library.can_search():
            state = {"status": "ok", "search_processes": library.searches.num_processes}
            return JSONResponse(state, headers=ASK_AGAIN)
        status = "cannot search" if library.ready.is_set() else "starting"
        return JSONResponse({"status": status}, 503, headers=ASK_AGAIN)

    if with_metrics:

        @router.get("/metrics")
        def metrics() -> Response:
            return Response(library.metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST, **ASK_AGAIN})

    return router


def upload_routes(uploads: "UploadFolder") -> APIRouter:
    """`PUT /upload/NAME` with a video as the body; answers `{"name": ...}`, what it is called in the folder."""
    router = APIRouter()

    @router.put("/upload/{name}")
    async def upload(name: str, request: Request) -> Response:
        try:
            return JSONResponse({"name": await uploads.save(name, request.stream())})
        except UploadError as error:
            return PlainTextResponse(str(error), error.status)
        except ClientDisconnect:  # nobody is there to read the answer
            return PlainTextResponse("The upload was broken off.", 400)

    return router


def _picture(draw: Callable[[], bytes]) -> Response:
    return Response(draw(), media_type="image/jpeg", headers=KEEP)
