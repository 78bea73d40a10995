"""Search results as one HTML file that needs nothing else: thumbnails with boxes, times, scores and matching words."""

import base64
import os
from collections.abc import Iterable, Sequence
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tcd_hf.choices import WEAK_BELOW
from tcd_hf.clock import clock
from tcd_hf.printable import one_line
from tcd_hf.processing.video_reading import VideoReadError

if TYPE_CHECKING:
    from PIL import Image

    from tcd_hf.index.hits import Hit

__all__ = ["WORDS", "write_html_report"]

THUMBNAIL_SIDE = 480  # pixels
JPEG_QUALITY = 80
# What the fields of a hit are called on the page, and on that of `tcd-hf serve`.
WORDS = {
    "score": "score",
    "text_video": "picture",
    "text_ocr": "text",
    "text_hybrid": "both",
    "text_window": "nearest text",
    "lexical": "spelling",
}


class _Row(NamedTuple):
    """A hit as the template shows it, with its scores by field; `picture` is a data URI, or `problem` says why there is
    none."""

    hit: "Hit"
    name: str
    scores: dict[str, float]
    picture: str | None = None
    problem: str | None = None


def write_html_report(
    path: str | os.PathLike, results: "Iterable[tuple[str, Sequence[Hit]]]", title: str = "Search results"
) -> None:
    """Writes results of searches as a page to look at, to print or to send: one file without scripts or references.

    Each hit comes with the frame that shows its evidence, its best moment, the matching words, its other moments, and
    its scores. Where a clip is lost or broken, its row says so in place of the picture.

    Args:
        path (`str` or `os.PathLike`): file to write; one that is there is replaced.
        results (`Iterable[tuple[str, Sequence[Hit]]]`): queries and their hits, best first, such as
            `zip(queries, index.search(queries))`; of one query, `[(query, index.search(query))]`.
        title (`str`, *optional*, defaults to `"Search results"`): of the page.

    Raises:
        OSError: `path` cannot be written.
        TypeError: hits without their queries. Nothing is written then.
    """
    from jinja2 import Environment, StrictUndefined

    source = resources.files("tcd_hf.visualization").joinpath("templates/report.html").read_text(encoding="utf-8")
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined}
    template = Environment(autoescape=True, finalize=_spelt_out, **options)
    template.filters["clock"] = clock
    template.filters["means"] = _is_meant
    pages = [(query, [_as_row(hit) for hit in hits]) for query, hits in map(_checked, results)]
    page = template.from_string(source).render(title=title, results=pages, words=WORDS, weak_below=WEAK_BELOW)
    Path(path).write_text(page, encoding="utf-8")


def _is_meant(text: str, boxes: Sequence[dict[str, Any]]) -> bool:
    """Whether a text of the evidence means the query, and does not spell it."""
    return any(box["text"] == text and box.get("match") == "means" for box in boxes)


def _spelt_out(value: Any) -> Any:
    """A text without what could not be printed, or would turn what follows; file names need not even be valid text."""
    is_html = hasattr(value, "__html__")  # of the template's own making
    return one_line(value) if isinstance(value, str) and not is_html else value


def _checked(result: "tuple[str, Sequence[Hit]]") -> "tuple[str, Sequence[Hit]]":
    if isinstance(result, Sequence) and len(result) == 2 and isinstance(result[0], str):
        return result
    raise TypeError(
        f"results must be pairs of a query and its hits, got {result!r:.100}. Write [(query, index.search(query))], or "
        "zip(queries, index.search(queries))."
    )


def _as_row(hit: "Hit") -> _Row:
    scores = {field: getattr(hit, field) for field in WORDS}
    row = _Row(hit, os.path.basename(hit.path), {field: value for field, value in scores.items() if value is not None})
    try:
        return row._replace(picture=_as_data_uri(hit.draw(max_side=THUMBNAIL_SIDE)))
    except VideoReadError as error:
        return row._replace(problem=str(error))


def _as_data_uri(picture: "Image.Image") -> str:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)  # thin lines keep their colour
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
