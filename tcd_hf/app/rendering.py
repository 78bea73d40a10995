"""The parts of the page that show data, as HTML. Texts read in videos and file names are anybody's: all are escaped."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from urllib.parse import urlencode

import numpy as np

from tcd_hf.app.library import Clip
from tcd_hf.app.matching import matching_in_windows, parts_of
from tcd_hf.app.pictures import window_at
from tcd_hf.clock import clock
from tcd_hf.index.hits import Hit
from tcd_hf.index.moments import Moment
from tcd_hf.index.schema import video_id
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.visualization.html_report import WORDS

__all__ = ["render_clip", "render_examples", "render_hits", "render_message"]

SHOWN_MOMENTS = 3  # of a hit, besides its best
SHOWN_TEXTS = 3  # of a moment; all of one that answers several parts of a query
MAX_ROWS = 300  # of the list of windows
STRIP_CELLS = 720  # into which the strip is cut: about a pixel each
NO_TEXT = "no text was read in this clip"
MEANINGS = {  # of the fields of a hit that have a bar
    "text_video": "cosine of the query and what is seen",
    "text_ocr": "cosine of the query and the meaning of what is read",
    "text_hybrid": "cosine of the query and the clue distilled from both",
    "lexical": "share of the query's spelling in what is read",
}
LEGEND = (
    '<p class="legend" aria-hidden="true"><span class="match">matching text</span> '
    '<span class="text">other text</span> <span>no text</span></p>'
)


def render_message(title: str, advice: str, kind: str = "calm") -> str:
    """A message in the place of results."""
    return f'<div class="message {kind}" role="status"><b>{escape(title)}</b><p>{escape(advice)}</p></div>'


def render_examples(queries: Sequence[str]) -> str:
    """Queries to try, as buttons."""
    if not queries:
        return ""
    buttons = "".join(f'<button type="button" class="example">{escape(query)}</button>' for query in queries)
    return f'<div class="examples"><span>Read in these videos:</span>{buttons}</div>'


def render_hits(query: str, hits: Sequence[Hit], clips: Mapping[str, Clip], num_videos: int) -> str:
    """The ranked list: every hit is a button that opens its clip at the best moment, with others for other moments."""
    items = "".join(
        _render_hit(rank, query, hit, clips[clip_id])
        for rank, hit in enumerate(hits, start=1)
        if (clip_id := video_id(hit.path)) in clips  # it may have been removed a moment ago
    )
    count = f"{len(hits)} of {num_videos:,} video{'s' if num_videos != 1 else ''}, best first"
    return f'<p class="count" role="status">{count}</p><ol class="hits">{items}</ol>'


def _render_hit(rank: int, query: str, hit: Hit, clip: Clip) -> str:
    # Half-way between two moments there may be neither.
    seconds = hit.shown_time if len(parts_of(query)) > 1 else (hit.start + hit.end) / 2
    thumbnail = _link("thumbnail", clip, t=f"{seconds:.3f}")
    bars = "".join(
        _render_no_text(name) if name == "text_ocr" and not clip.has_text else _render_bar(name, meaning, value)
        for name, meaning in MEANINGS.items()
        if (value := getattr(hit, name)) is not None
    )
    otherwise = "matched by what is seen or meant" if clip.has_text else NO_TEXT
    return (
        f'<li><button type="button" class="hit" {_opens(clip, query, hit.start)} aria-pressed="false">'
        f'<span class="thumbnail"><img src="{escape(thumbnail)}" alt="" width="320" height="180" decoding="async">'
        "</span>"
        f'<span class="about"><span class="heading"><span class="rank">{rank}</span>'
        f'<span class="title" title="{escape(clip.path)}">{escape(clip.title)}</span>'
        f'<span class="score" title="what hits are ranked by">{hit.score:.3f}</span></span>'
        f'<span class="words">{_render_moment(query, hit)}{"" if hit.evidence else otherwise}</span>'
        f'<span class="bars">{bars}</span></span></button>{_render_moments(query, hit, clip)}</li>'
    )


def _render_moment(query: str, moment: Hit | Moment) -> str:
    """When it is, and the texts that speak for it."""
    shown = moment.evidence if len(parts_of(query)) > 1 else moment.evidence[:SHOWN_TEXTS]
    words = "".join(f"<mark>{escape(text)}</mark>" for text in shown)
    return f'<span class="time">{clock(moment.start)}–{clock(moment.end)}</span> {words}'


def _render_moments(query: str, hit: Hit, clip: Clip) -> str:
    """The other moments of a hit, as buttons that open its clip there."""
    buttons = "".join(
        f'<button type="button" class="moment" {_opens(clip, query, moment.start)}>'
        f"{_render_moment(query, moment)}</button>"
        for moment in hit.moments[:SHOWN_MOMENTS]
    )
    return f'<div class="moments" role="group" aria-label="Other moments">{buttons}</div>' if buttons else ""


def _opens(clip: Clip, query: str, seconds: float) -> str:
    """The attribute of a button that opens a clip at a time."""
    return _attributes(clip=_link("clip", clip, query=query, start=f"{seconds:.3f}"))


def _render_bar(name: str, meaning: str, value: float) -> str:
    width = 100 * min(max(value, 0), 1)
    return (
        f'<span class="bar {name}" title="{name} {value:.3f}: {meaning}"><span class="label">{WORDS[name]}</span>'
        f'<span class="track"><span class="value" style="width:{width:.1f}%"></span></span>'
        f'<span class="number">{round(value, 2) + 0.0:.2f}</span></span>'
    )


def _render_no_text(name: str) -> str:
    """In the place of a bar: a clip without text has a score for it too, which means nothing."""
    return (
        f'<span class="bar {name}" title="{name}: {NO_TEXT}"><span class="label">no text</span>'
        '<span class="track"></span><span class="number">–</span></span>'
    )


def render_clip(
    clip: Clip, captions: Sequence[WindowCaption], seconds: float, query: str, problem: str | None = None
) -> str:
    """One clip: player, the frame with the matching text, and which text was read when.

    Args:
        clip ([`Clip`]): the clip.
        captions (`Sequence[WindowCaption]`): of its windows, in the order of time.
        seconds (`float`): the time to begin at.
        query (`str`): what was searched for.
        problem (`str`, *optional*): why the file cannot be shown. What was read in it still is.
    """
    place = window_at(captions, seconds)
    seconds = seconds if 0 <= seconds <= clip.duration else captions[place].start
    matching = matching_in_windows(query, captions)
    if problem is None:
        media = _render_media(clip, seconds, query, _tell_picture(bool(matching[place])))
    else:
        media = render_message("This clip is not at hand", problem)
    return (
        f'<article class="clip" aria-label="{escape(clip.title)}">'
        '<button type="button" class="back">Back to the results</button><header>'
        f'<h2 title="{escape(clip.path)}">{escape(clip.title)}</h2>'
        f"<p>{clock(clip.duration)} long, opened at {clock(seconds)}</p></header>"
        f"{media}<h3>What was read when</h3>{_render_strip(clip, captions, matching, seconds, query)}{LEGEND}"
        f"{_render_windows(clip, captions, matching, place, query)}</article>"
    )


def _render_media(clip: Clip, seconds: float, query: str, shown: str) -> str:
    video, picture = _link("video", clip), _picture(clip, seconds, query)
    return (
        '<div class="media"><figure><video controls preload="auto" playsinline '
        f'{_attributes(start=f"{seconds:.3f}")} src="{escape(video)}"></video>'
        f"<figcaption>the clip, begun at {clock(seconds)}</figcaption>"
        '<p class="unplayable" role="status" hidden>This browser cannot play the file: it may lack the decoder, or '
        "the file may be damaged. What was read in it is below.</p></figure>"
        f'<figure><img class="evidence" src="{escape(picture)}" alt="{shown}"><figcaption>{shown}</figcaption>'
        '<p class="unplayable" role="status" hidden>This frame cannot be read: the file may be damaged.</p></figure>'
        "</div>"
    )


def _render_strip(
    clip: Clip, captions: Sequence[WindowCaption], matching: Sequence[Sequence[str]], seconds: float, query: str
) -> str:
    """The whole clip from left to right: where text was read, where it matches, and where the player is."""
    kinds = np.zeros(STRIP_CELLS, np.int8)
    cells = STRIP_CELLS / clip.duration
    for caption, texts in zip(captions, matching, strict=True):
        first = min(int(caption.start * cells + 1e-6), STRIP_CELLS - 1)
        last = max(first + 1, math.ceil(caption.end * cells - 1e-6))  # a short one is seen all the same
        kinds[first:last] = np.maximum(kinds[first:last], 2 if texts else 1 if caption.tracks else 0)
    parts, place = [], 0
    for kind, cells_alike in groupby(kinds.tolist()):
        width = len(list(cells_alike))
        if kind:
            style = f"left:{100 * place / STRIP_CELLS:.3f}%;width:{100 * width / STRIP_CELLS:.3f}%"
            parts.append(f'<span class="{("", "text", "match")[kind]}" style="{style}"></span>')
        place += width
    data = _attributes(
        duration=f"{clip.duration:.3f}",
        picture=_picture(clip, seconds, query),
        match=_tell_picture(True),
        other=_tell_picture(False),
    )
    playhead = f'<span class="playhead" style="left:{100 * min(seconds / clip.duration, 1):.3f}%"></span>'
    return f'<div class="strip" aria-hidden="true" {data}>{"".join(parts)}{playhead}</div>'


def _render_windows(
    clip: Clip, captions: Sequence[WindowCaption], matching: Sequence[Sequence[str]], place: int, query: str
) -> str:
    """The windows as a list, those without text folded, around the one at this place."""
    runs = _fold(captions, place)
    opened = next(number for number, run in enumerate(runs) if place in run)
    first = max(0, min(opened - MAX_ROWS // 2, len(runs) - MAX_ROWS))
    shown = runs[first : first + MAX_ROWS]
    left_out = ""
    if len(shown) < len(runs):
        start, end = captions[shown[0].start].start, captions[shown[-1].stop - 1].end
        left_out = (
            f'<p class="legend">Shown is {clock(start)}–{clock(end)}: the {len(shown)} rows around this moment, of '
            f"{len(runs):,}.</p>"
        )
    rows = "".join(_render_run(clip, captions, run, set(matching[run.start]), place in run, query) for run in shown)
    return f'{left_out}<ol class="windows">{rows}</ol>'


def _fold(captions: Sequence[WindowCaption], place: int) -> list[range]:
    """The places of the windows, one by one where they have text and at the place given, else as long runs."""
    runs: list[range] = []
    for number, caption in enumerate(captions):
        alone = bool(caption.tracks) or number == place
        before = runs[-1].stop - 1 if runs else None
        if alone or before is None or captions[before].tracks or before == place:
            runs.append(range(number, number + 1))
        else:
            runs[-1] = range(runs[-1].start, number + 1)
    return runs


def _render_run(
    clip: Clip, captions: Sequence[WindowCaption], run: range, matching: set[str], is_best: bool, query: str
) -> str:
    """A window, or several without text, as a button that jumps there."""
    caption, end = captions[run.start], captions[run.stop - 1].end
    texts = [track.text for track in caption.tracks]
    marked = " ".join(f"<mark>{escape(text)}</mark>" if text in matching else escape(text) for text in texts)
    kinds = {"text": bool(texts), "match": bool(matching), "best": is_best}
    kind = " ".join(["window", *(name for name, holds in kinds.items() if holds)])
    data = _attributes(
        start=f"{caption.start:.3f}",
        end=f"{end:.3f}",
        picture=_picture(clip, caption.start, query),
        shown=_tell_picture(bool(matching)),
    )
    current = ' aria-current="true"' if is_best else ""
    return (
        f'<li><button type="button" class="{kind}" {data}{current}>'
        f'<span class="time">{clock(caption.start)}–{clock(end)}</span>'
        f'<span class="read">{marked or "no text"}</span></button></li>'
    )


def _tell_picture(has_match: bool) -> str:
    """What a window's frame shows, see [`Hit.draw`]."""
    return "the frame with the matching text, outlined" if has_match else "a frame of this time"


def _picture(clip: Clip, seconds: float, query: str) -> str:
    return _link("evidence", clip, query=query, start=f"{seconds:.3f}")


def _link(route: str, clip: Clip, **parameters: str) -> str:
    version = {"v": clip.content_hash[:8]}  # so that a browser keeps no picture of what a file was before
    return f"{route}/{clip.id}?{urlencode({**parameters, **version})}"


def _attributes(**values: str) -> str:
    return " ".join(f'data-{name}="{escape(value)}"' for name, value in values.items())
