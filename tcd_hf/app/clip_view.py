"""An opened clip as HTML, in the parts in which it is asked for: player, moments on a timeline, transcript."""

import heapq
import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

import numpy as np

from tcd_hf.app.html_parts import (
    WITHOUT_MATCH,
    asking,
    attributes,
    jump_attributes,
    link,
    literal,
    moment_attributes,
    render_message,
    render_source,
    render_thumbnail,
    render_when,
)
from tcd_hf.app.library import Clip
from tcd_hf.app.matching import matching_in_windows
from tcd_hf.choices import DEFAULT_WITHIN
from tcd_hf.clock import clock
from tcd_hf.index.moments import Moment
from tcd_hf.reading.text_files import Cue

__all__ = ["render_clip", "render_moments", "render_transcript"]

MAX_MOMENTS = 200  # shown of a clip, the best
MAX_CUES = 300  # rows of the transcript at once
TIMELINE_CELLS = 720  # into which a timeline is cut: about a pixel each
SCALE = 4  # parts into which the times below a timeline divide it
LEGEND = (
    '<p class="legend" aria-hidden="true"><span class="match">moment</span> <span class="text">other text</span> '
    "<span>no text</span></p>"
)


def render_clip(clip: Clip, query: str, problem: str | None = None, within: float = DEFAULT_WITHIN) -> str:
    """One clip: player and picture, still without a time, and room for its moments and its transcript.

    Args:
        clip ([`Clip`]): the clip.
        query (`str`): what was searched for.
        problem (`str`, *optional*): why the file cannot be shown. What was read in it still is.
        within (`float`, *optional*, defaults to 60.0): as of [`VideoIndex.search`].
    """
    media = _render_media(clip) if problem is None else render_message("This clip is not at hand", problem)
    asked = asking(query, within)
    moments = attributes(part=link("moments", clip, **asked))
    transcript = attributes(part=link("transcript", clip, query=query))
    return (
        f'<article class="clip" aria-label="{literal(clip.title)}" {attributes(clip=link("clip", clip, **asked))}>'
        '<button type="button" class="back">Back to the results</button><header>'
        f'<h2 title="{literal(clip.path)}">{literal(clip.title)}</h2><p>{clock(clip.duration)} long</p></header>'
        f'{media}<section class="timeline-part" {moments}></section>'
        '<section class="transcript"><h3><label for="find">Read in this video</label></h3>'
        '<input type="search" id="find" maxlength="200" placeholder="find a text" autocomplete="off" '
        f'aria-controls="transcript"><div id="transcript" {transcript}></div></section></article>'
    )


def _render_media(clip: Clip) -> str:
    return (
        f'<div class="media"><figure><video controls preload="auto" playsinline src="{escape(link("video", clip))}">'
        "</video>"
        '<p class="unplayable" role="status" hidden>This browser cannot play the file: it may lack the decoder, or '
        "the file may be damaged. What was read in it is below.</p></figure>"
        '<figure><img class="evidence" alt="" hidden><figcaption></figcaption>'
        '<p class="unplayable" role="status" hidden>This frame cannot be read: the file may be damaged.</p></figure>'
        "</div>"
    )


def render_moments(clip: Clip, moments: Sequence[Moment], cues: Iterable[Cue], query: str) -> str:
    """The timeline of a whole clip with every moment marked, and these as a list below it.

    Args:
        clip ([`Clip`]): the clip.
        moments (`Sequence[Moment]`): those that match the query, in the order of time.
        cues (`Iterable[Cue]`): what was read in the clip.
        query (`str`): what was searched for.
    """
    best = heapq.nlargest(MAX_MOMENTS, moments, key=lambda moment: moment.score)
    shown = sorted(best, key=lambda moment: moment.start)
    heading = f"{len(moments):,} moment{'s' if len(moments) != 1 else ''}" if moments else "No moment"
    left_out = f"<small>the best {len(shown)} are shown</small>" if len(shown) < len(moments) else ""
    items = "".join(f"<li>{_render_moment(clip, moment, query)}</li>" for moment in shown)
    return (
        f'{_render_timeline(clip, shown, cues, query)}{LEGEND}<div class="all-moments"><h3>{heading} in this video'
        f'{left_out}</h3><ol aria-label="Moments">{items}</ol></div>'
    )


def _render_timeline(clip: Clip, moments: Sequence[Moment], cues: Iterable[Cue], query: str) -> str:
    """The whole clip from left to right: where text was read, each moment as a button, and where the player is.

    Of the marks one is reached by the Tab key, the others from it by the arrow keys, as in any toolbar.
    """
    marks = "".join(
        f'<button type="button" class="mark" tabindex="{-1 if number else 0}" {moment_attributes(clip, query, moment)} '
        f'aria-label="{literal(_tell(moment))}" title="{literal(_tell(moment))}" '
        f'style="{_place(clip, moment.start, moment.end)}"></button>'
        for number, moment in enumerate(moments)
    )
    about = attributes(
        duration=f"{clip.duration:.3f}",
        picture=link("evidence", clip, query=query),
        shown=WITHOUT_MATCH,
    )
    times = "".join(f"<span>{clock(part * clip.duration / SCALE)}</span>" for part in range(SCALE + 1))
    return (
        f'<div class="timeline" role="toolbar" aria-label="Moments on the timeline, {clock(clip.duration)} long" '
        f'{about}>{_render_texts(clip, cues)}{marks}<span class="playhead" aria-hidden="true"></span></div>'
        f'<div class="scale" aria-hidden="true">{times}</div>'
    )


def _render_texts(clip: Clip, cues: Iterable[Cue]) -> str:
    """Where text was read."""
    has_text = np.zeros(TIMELINE_CELLS, bool)
    cells = TIMELINE_CELLS / clip.duration
    for cue in cues:
        first = min(int(cue.start * cells + 1e-6), TIMELINE_CELLS - 1)
        has_text[first : max(first + 1, math.ceil(cue.end * cells - 1e-6))] = True  # a short one is seen all the same
    parts, cell = [], 0
    for is_text, alike in groupby(has_text.tolist()):
        end = cell + len(list(alike))
        if is_text:
            parts.append(f'<span class="text" style="{_place(clip, cell / cells, end / cells)}"></span>')
        cell = end
    return "".join(parts)


def _place(clip: Clip, start: float, end: float) -> str:
    """The style of what lasts from one time to another."""
    left, right = (100 * min(max(seconds / clip.duration, 0), 1) for seconds in (start, end))
    return f"left:{left:.3f}%;width:{right - left:.3f}%"


def _render_moment(clip: Clip, moment: Moment, query: str) -> str:
    words = render_when(moment) if moment.evidence else f"{render_when(moment)}what fits best"
    return (
        f'<button type="button" class="moment" {moment_attributes(clip, query, moment)}>'
        f"{render_thumbnail(clip, moment.shown_time)}<span>{words}</span></button>"
    )


def _tell(moment: Moment) -> str:
    return " ".join([f"{clock(moment.start)}–{clock(moment.end)}", *moment.evidence])


def render_transcript(clip: Clip, cues: Sequence[Cue], query: str, around: float | None = None) -> str:
    """What was read in a clip, a row for each text with its time; of many the first, or those around a time.

    A text is marked that speaks for the query by itself. One of several that show a phrase together is not.

    Args:
        clip ([`Clip`]): the clip.
        cues (`Sequence[Cue]`): in the order of time: all, or those that were filtered for.
        query (`str`): what was searched for.
        around (`float`, *optional*): seconds.
    """
    if not cues:
        return '<p class="legend" role="status">No such text was read in this video.</p>'
    current = 0 if around is None else sum(cue.start < around for cue in cues)
    first = max(0, min(current - MAX_CUES // 2, len(cues) - MAX_CUES))
    shown = cues[first : first + MAX_CUES]
    count, limits = f"{len(cues):,} text{'s' if len(cues) != 1 else ''}", ""
    if len(shown) < len(cues):
        start, end = shown[0].start, shown[-1].start
        count = f"{len(shown)} of {count}: {clock(start)}–{clock(end)}"
        if around is not None:  # so that others are fetched when the player leaves these
            is_last = first + len(shown) == len(cues)
            limits = attributes(
                start=f"{start if first else 0:.3f}", end=f"{clip.duration + 1 if is_last else end:.3f}"
            )
    matching = matching_in_windows(query, [[cue.text] for cue in shown])
    items = "".join(_render_cue(clip, cue, bool(texts), query) for cue, texts in zip(shown, matching, strict=True))
    return f'<p class="legend" role="status">{count}</p><ol class="cues" {limits}>{items}</ol>'


def _render_cue(clip: Clip, cue: Cue, is_match: bool, query: str) -> str:
    text = f"<mark>{literal(cue.text)}</mark>" if is_match else literal(cue.text)
    jump = jump_attributes(clip, query, cue.start, cue.end, (cue.start + cue.end) / 2, is_match)
    return (
        f'<li><button type="button" class="cue" {jump}><span class="time">{clock(cue.start)}–{clock(cue.end)}</span>'
        f'<span class="words">{text}</span>{render_source(cue.source)}</button></li>'
    )
