"""The page: a tab to search on and a tab to add videos."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import api
from gradio.themes import Base

from tcd_hf.app.adding import FILES_AT_ONCE, MAX_ADDING, Adder
from tcd_hf.app.html_parts import render_message
from tcd_hf.app.library import Library, sql_filter
from tcd_hf.app.rendering import render_examples, render_hits
from tcd_hf.choices import DEFAULT_WITHIN, SearchMode
from tcd_hf.index.query_syntax import MAX_QUERY_LENGTH
from tcd_hf.index.schema import video_id
from tcd_hf.reading.files import VIDEO_EXTENSIONS

if TYPE_CHECKING:
    from tcd_hf.index.hits import Hit

__all__ = ["CSS", "THEME", "answer_query", "make_page"]

STATIC = Path(__file__).parent / "static"
CSS = (STATIC / "page.css").read_text(encoding="utf-8")
FONTS = ["system-ui", "sans-serif"]  # of the reader's system: nothing is fetched
THEME = Base(
    primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=["ui-monospace", "monospace"], radius_size="md"
)
MAX_RESULTS = 50

MODE_NAMES = {
    "two-stage": "best (two-stage)",
    "full": "exact, slower (full)",
    "coarse": "quick (coarse)",
    "lexical": "spelling only (lexical)",
}
SOURCE_NAMES = {"": "anywhere", "ocr": "pictures", "subtitle": "subtitles", "given": "given texts"}
EMPTY_INDEX = ("The index is empty", "Add videos in the next tab, or with `tcd-hf index VIDEOS... --index DIR`.")
NO_QUERY = (
    "What are you looking for?",
    "Describe a video in a sentence, or name a text that can be read in it.",
)
SYNTAX = (
    '<p class="syntax"><code>"way out"</code> must stand there, <code>-exit</code> must not, <code>door OR gate</code> '
    "either will do, <code>entry &gt;&gt; exit</code> one after the other; all other words are found as they are "
    "meant or spelled.</p>"
)
CUT = f'<p class="note" role="status">Only the first {MAX_QUERY_LENGTH:,} characters were searched for.</p>'
NO_HIT = ("No video found", "Say it in other words or without quotes, choose another mode, or lift a filter.")


def make_page(library: Library, adder: Adder) -> gr.Blocks:
    """The page as Gradio blocks, with the API endpoint `/search`."""
    with gr.Blocks(title="tcd-hf: video search", analytics_enabled=False, fill_width=True) as page:
        _html('<h1 class="brand">tcd-hf <span>find the video a sentence describes, reading the text in it</span></h1>')
        with gr.Tabs():
            with gr.Tab("Search"):
                _search_tab(page, library)
            with gr.Tab("Add videos"):
                _add_tab(adder)
        api(_make_search_api(library), api_name="search", concurrency_limit=None)
    return page


def _search_tab(page: gr.Blocks, library: Library) -> None:
    with gr.Row(elem_id="ask"):
        query = gr.Textbox(
            show_label=False,
            label="Query",
            placeholder="a shop that is open until 10 pm",
            max_lines=1,
            max_length=10 * MAX_QUERY_LENGTH,  # what is too long is cut by the server, which says so
            autofocus=True,
            scale=8,
            container=False,
            elem_id="query",
        )
        button = gr.Button("Search", variant="primary", scale=1, min_width=96)
    _html(SYNTAX)
    examples = _html(elem_id="examples", script="examples")
    with gr.Accordion("Mode and filters", open=False, elem_id="filters"), gr.Row():
        choices = [(name, mode) for mode, name in MODE_NAMES.items()]
        mode = gr.Dropdown(choices, value="two-stage", label="Mode", min_width=220)
        top_k = gr.Slider(1, MAX_RESULTS, value=10, step=1, label="Results", min_width=185)
        # no gr.Number: it shows a 0 where nothing was typed
        shortest = gr.Textbox(label="Shortest (s)", placeholder="any", max_length=12, min_width=110)
        longest = gr.Textbox(label="Longest (s)", placeholder="any", max_length=12, min_width=110)
        path = gr.Textbox(label="Path contains", placeholder="anything", max_length=200, min_width=150)
        with_text = gr.Checkbox(label="Only videos with text", min_width=150)
        choices = [(name, source) for source, name in SOURCE_NAMES.items()]
        text_from = gr.Dropdown(choices, value="", label="Text from", min_width=130)
        within = gr.Textbox(label="a >> b within (s)", placeholder=f"{DEFAULT_WITHIN:g}", max_length=12, min_width=130)
    with gr.Row(elem_id="found"):
        with gr.Column(scale=4, min_width=320):
            results = _html(render_message(*NO_QUERY), elem_id="results", script="results")
        with gr.Column(scale=6, min_width=320, elem_id="clip-column"):
            _html('<div id="clip"></div>', script="clip")

    def answer(query: str, *options: Any) -> str:
        return answer_query(library, query, *options)

    def answer_example(event: gr.EventData, *options: Any) -> tuple[str, str]:
        query: Any = getattr(event, "query", None)
        return query, answer_query(library, query, *options)

    options = [mode, top_k, within, shortest, longest, with_text, path, text_from]
    quick = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    gr.on([query.submit, button.click], answer, [query, *options], results, **quick)
    examples.select(answer_example, options, [query, results], **quick)
    # The greeting comes when the page is open already: it must not take the place of an answer that was quicker.
    page.load(lambda: _greet(library), None, examples, **quick)


def _add_tab(adder: Adder) -> None:
    if adder.uploads is None and not adder.roots:
        _html(
            render_message(
                "Adding videos is off",
                "Start the server with --uploads FOLDER to allow uploads, which are kept in that folder, or with "
                "--allow-add FOLDER to allow adding videos that lie below it.",
            )
        )
        return
    report = _html(elem_id="report", render=False)
    limit = {"concurrency_limit": MAX_ADDING, "concurrency_id": "add"}
    options = {"show_progress": "hidden", "api_visibility": "private", **limit}
    if adder.uploads is not None:
        upload = _html(_UPLOAD.format(megabytes=adder.uploads.max_megabytes), script="upload")

        def add_uploaded(event: gr.EventData, request: gr.Request) -> Iterator[str]:
            yield from adder.add_uploaded(getattr(event, "names", None), _visitor(request))

        upload.upload(add_uploaded, None, report, **options)
    if adder.roots:
        with gr.Row(elem_id="add-path"):
            path = gr.Textbox(
                label="File or folder on the server", info=f"below {' or '.join(map(str, adder.roots))}", scale=8
            )
            button = gr.Button("Add", scale=1, min_width=96)

        def add_path(path: str, request: gr.Request) -> Iterator[str]:
            yield from adder.add_path(path, _visitor(request))

        gr.on([path.submit, button.click], add_path, path, report, **options)
    with gr.Column(elem_id="adding"):  # the button shows while there is progress in the report
        report.render()
        cancel = gr.Button("Cancel", elem_id="cancel-adding", min_width=96)

    def cancel_adding(request: gr.Request) -> None:
        adder.cancel(_visitor(request))

    cancel.click(cancel_adding, None, None, queue=False, show_progress="hidden", api_visibility="private")


def _visitor(request: gr.Request) -> str:
    """A page that is open in a browser."""
    return request.session_hash or ""


_UPLOAD = (
    '<div class="upload"><input type="file" id="upload-files" multiple '
    f'accept="{",".join(["video/*", *sorted(VIDEO_EXTENSIONS)])}">'
    '<label for="upload-files">Choose videos</label> or drop them here'
    f"<p><small>at most {FILES_AT_ONCE} at once, {{megabytes}} MB each; they are kept on the server</small></p>"
    f'<p class="sent" role="status" data-most="{FILES_AT_ONCE}" data-megabytes="{{megabytes}}"></p></div>'
)


def _greet(library: Library) -> str:
    """Examples of the index as it is now, or that it is empty."""
    return render_examples(library.example_queries()) if len(library) else render_message(*EMPTY_INDEX)


def answer_query(library: Library, query: str, mode: SearchMode, top_k: int, within: str | None, *filters: Any) -> str:
    """The results of a query, or a message, as HTML. The filters are those of `sql_filter`, seconds as typed."""
    note = ""
    if isinstance(query, str) and len(query := query.strip()) > MAX_QUERY_LENGTH:
        query, note = query[:MAX_QUERY_LENGTH], CUT
    try:
        seconds: Any = _typed_seconds(within)
        seconds = DEFAULT_WITHIN if seconds is None else seconds
        hits = _find(library, query, mode, top_k, seconds, *map(_typed_seconds, filters[:2]), *filters[2:])
    except ValueError as error:
        return render_message("That cannot be searched for", str(error))
    if hits is None:
        return render_message(*NO_QUERY)
    num_videos = len(library)
    if not hits:
        return note + render_message(*(NO_HIT if num_videos else EMPTY_INDEX))
    clips = library.clips(video_id(hit.path) for hit in hits)
    return note + render_hits(query, hits, clips, num_videos, seconds, library.tells_weak(mode))


def _find(
    library: Library, query: str, mode: SearchMode, top_k: int, within: float, *filters: Any
) -> "list[Hit] | None":
    if not isinstance(query, str | None):
        raise ValueError(f"The query must be a text, got {query!r}.")
    query = (query or "").strip()[:MAX_QUERY_LENGTH]
    if not query:
        return None
    if any("\ud800" <= character <= "\udfff" for character in query):
        raise ValueError("The query holds half a character (a lone surrogate): leave it out.")
    if not isinstance(top_k, int | float) or not 1 <= top_k <= MAX_RESULTS:
        raise ValueError(f"The number of results must lie in 1 to {MAX_RESULTS}, got {top_k}.")
    if not isinstance(within, int | float):
        raise ValueError(f"within must be a number of seconds from 0 on, got {within!r}.")
    return library.search(query, mode, int(top_k), sql_filter(*filters), within)


def _typed_seconds(text: str | None) -> float | str | None:
    """What is no number stays what it is, to be refused as such."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _make_search_api(library: Library):
    def search(
        query: str,
        mode: SearchMode = "two-stage",
        top_k: int = 10,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        only_with_text: bool = False,
        path_contains: str = "",
        text_from: str = "",
        within: float = DEFAULT_WITHIN,
    ) -> list[dict]:
        """The best videos for a query, best first: the fields of a hit, its path as `video`. Of a query that is longer
        than 1000 characters these are searched for."""
        try:
            filters = min_seconds, max_seconds, only_with_text, path_contains, text_from
            hits = _find(library, query, mode, top_k, within, *filters)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error
        if hits is None:
            raise gr.Error("The query is empty: say what to look for.", print_exception=False)
        return [_plain(hit) for hit in hits]

    return search


def _plain(hit: "Hit") -> dict[str, Any]:
    """A hit as JSON. Clients of Gradio would take what has a `path` for a file of theirs, and fetch it."""
    fields = hit.to_dict()
    return {"video": fields.pop("path"), **fields}


def _html(value: str = "", script: str | None = None, **options: Any) -> gr.HTML:
    """HTML of ours, dressed by our style sheet alone; `script` names the JavaScript that brings it to life."""
    code = None if script is None else (STATIC / f"{script}.js").read_text(encoding="utf-8")
    return gr.HTML(value, js_on_load=code, apply_default_css=False, **options)
