"""Pieces of HTML that the results and an opened clip share. Data may be anybody's: all of it is escaped here."""

from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode

from tcd_hf.app.library import Clip
from tcd_hf.choices import DEFAULT_WITHIN
from tcd_hf.clock import clock
from tcd_hf.index.hits import Hit
from tcd_hf.index.moments import Moment
from tcd_hf.index.query_syntax import as_phrase
from tcd_hf.printable import one_line

__all__ = [
    "asking",
    "attributes",
    "jump_attributes",
    "link",
    "literal",
    "moment_attributes",
    "render_message",
    "render_source",
    "render_thumbnail",
    "render_when",
]

SOURCES = {"subtitle": "subtitle", "given": "given text"}  # of texts that were not read in the picture
MEANT = "by meaning"  # of texts that are not spelled like the query
SHOWN_TEXTS = 6  # of the evidence of a moment, or of two that follow on one another
WITH_MATCH, WITHOUT_MATCH = "the frame with the matching text, outlined", "a frame of this time"


def literal(text: str) -> str:
    """A name or a text as HTML that shows it, also as the value of an attribute; control characters and marks of
    direction are spelt out."""
    return escape(one_line(text))


def render_message(title: str, advice: str, kind: str = "calm") -> str:
    """A message in the place of results."""
    return f'<div class="message {kind}" role="status"><b>{literal(title)}</b><p>{literal(advice)}</p></div>'


def render_when(moment: Hit | Moment) -> str:
    """When a moment is, the texts that speak for it, and where these come from, if not from the picture."""
    boxes = {box["text"]: box for box in moment.boxes}
    words = "".join(_render_word(text, boxes.get(text, {})) for text in moment.evidence[:SHOWN_TEXTS])
    return f'<span class="time">{clock(moment.start)}–{clock(moment.end)}</span> {words}'


def _render_word(text: str, box: Mapping[str, Any]) -> str:
    """A text that speaks for a moment; that it means the query is told, that it spells it can be seen."""
    meant = f'<span class="source">{MEANT}</span>' if box.get("match") == "means" else ""
    return f"<mark>{literal(text)}</mark>{meant}{render_source(box.get('source', ''))}"


def render_source(source: str) -> str:
    """Where a text comes from; nothing if from the picture."""
    return f'<span class="source">{SOURCES[source]}</span>' if source in SOURCES else ""


def render_thumbnail(clip: Clip, seconds: float) -> str:
    """A picture of the clip at a time, fetched when it comes into view."""
    source = link("thumbnail", clip, t=f"{seconds:.3f}")
    return (
        f'<span class="thumbnail"><img src="{escape(source)}" alt="" width="320" height="180" loading="lazy" '
        'decoding="async"></span>'
    )


def jump_attributes(clip: Clip, query: str, start: float, end: float, shown_time: float, has_match: bool) -> str:
    """The attributes of a button that takes the player to a moment, and the picture beside it to the frame that shows
    most of it. Times in seconds."""
    return attributes(
        start=f"{start:.3f}",
        end=f"{end:.3f}",
        picture=link("evidence", clip, query=query, start=f"{shown_time:.3f}"),
        shown=WITH_MATCH if has_match else WITHOUT_MATCH,
    )


def moment_attributes(clip: Clip, query: str, moment: Hit | Moment) -> str:
    """[`jump_attributes`] of a moment; of one by meaning the picture looks for its texts, as the query names none."""
    meant = [box["text"] for box in moment.boxes if box.get("match") == "means"]
    query = " OR ".join(map(as_phrase, meant)) or query
    return jump_attributes(clip, query, moment.start, moment.end, moment.shown_time, bool(moment.evidence))


def asking(query: str, within: float) -> dict[str, str]:
    """What was asked for, as parameters of a [`link`]."""
    return {"query": query} | ({} if within == DEFAULT_WITHIN else {"within": f"{within:g}"})


def link(route: str, clip: Clip, **parameters: str) -> str:
    """The address of something of a clip, relative to the page."""
    version = {"v": clip.content_hash[:8]}  # so that a browser keeps no picture of what a file was before
    return f"{route}/{clip.id}?{urlencode({**parameters, **version})}"


def attributes(**values: str) -> str:
    """`data-` attributes."""
    return " ".join(f'data-{name}="{escape(value)}"' for name, value in values.items())
