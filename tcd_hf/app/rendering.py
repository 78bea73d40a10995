"""The parts of the page that show data, as HTML. Texts read in videos and file names are anybody's: all are escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from urllib.parse import urlencode

from tcd_hf.app.library import Clip
from tcd_hf.clock import clock
from tcd_hf.index.hits import Hit, matching_texts
from tcd_hf.index.schema import video_id
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.visualization.html_report import WORDS

__all__ = ["render_clip", "render_examples", "render_hits", "render_message"]

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
    """The ranked list: every hit is a button that opens its clip at the best window."""
    items = "".join(
        _render_hit(rank, query, hit, clips[clip_id])
        for rank, hit in enumerate(hits, start=1)
        if (clip_id := video_id(hit.path)) in clips  # it may have been removed a moment ago
    )
    count = f"{len(hits)} of {num_videos:,} video{'s' if num_videos != 1 else ''}, best first"
    return f'<p class="count" role="status">{count}</p><ol class="hits">{items}</ol>'


def _render_hit(rank: int, query: str, hit: Hit, clip: Clip) -> str:
    middle = (hit.start + hit.end) / 2
    thumbnail = _link("thumbnail", clip, t=f"{middle:.3f}")
    data = _attributes(clip=_link("clip", clip, query=query, start=f"{hit.start:.3f}"))
    bars = "".join(
        _render_no_text(name) if name == "text_ocr" and not clip.has_text else _render_bar(name, meaning, value)
        for name, meaning in MEANINGS.items()
        if (value := getattr(hit, name)) is not None
    )
    words = "".join(f"<mark>{escape(text)}</mark>" for text in hit.evidence[:3])
    otherwise = "matched by what is seen or meant" if clip.has_text else NO_TEXT
    return (
        f'<li><button type="button" class="hit" {data} aria-pressed="false">'
        f'<span class="thumbnail"><img src="{escape(thumbnail)}" alt="" width="320" height="180" decoding="async">'
        f'<span class="time">{clock(hit.start)}–{clock(hit.end)}</span></span>'
        f'<span class="about"><span class="heading"><span class="rank">{rank}</span>'
        f'<span class="title" title="{escape(clip.path)}">{escape(clip.title)}</span>'
        f'<span class="score" title="what hits are ranked by">{hit.score:.3f}</span></span>'
        f'<span class="words">{words or otherwise}</span>'
        f'<span class="bars">{bars}</span></span></button></li>'
    )


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
    clip: Clip, captions: Sequence[WindowCaption], window: int, query: str, problem: str | None = None
) -> str:
    """One clip: player, the frame with the matching text, and which text was read in which window.

    Args:
        clip ([`Clip`]): the clip.
        captions (`Sequence[WindowCaption]`): of its windows.
        window (`int`): the one to begin at.
        query (`str`): what was searched for.
        problem (`str`, *optional*): why the file cannot be shown. What was read in it still is.
    """
    best = captions[window]
    media = _render_media(clip, best, query) if problem is None else render_message("This clip is not at hand", problem)
    windows = [_render_window(clip, caption, place, place == window, query) for place, caption in enumerate(captions)]
    strip = "".join(segment for segment, _ in windows)
    rows = "".join(row for _, row in windows)
    return (
        f'<article class="clip" aria-label="{escape(clip.title)}">'
        '<button type="button" class="back">Back to the results</button><header>'
        f'<h2 title="{escape(clip.path)}">{escape(clip.title)}</h2>'
        f"<p>{clock(clip.duration)} long, best window {clock(best.start)}–{clock(best.end)}</p></header>"
        f'{media}<h3>What was read, window by window</h3><div class="strip" aria-hidden="true">{strip}</div>{LEGEND}'
        f'<ol class="windows">{rows}</ol></article>'
    )


def _render_media(clip: Clip, caption: WindowCaption, query: str) -> str:
    video, picture = _link("video", clip), _picture(clip, caption, query)
    shown = _tell_picture(_matching(caption, query), is_best=True)
    return (
        '<div class="media"><figure><video controls preload="auto" playsinline '
        f'{_attributes(start=f"{caption.start:.3f}")} src="{escape(video)}"></video>'
        "<figcaption>the clip, begun at its best window</figcaption>"
        '<p class="unplayable" role="status" hidden>This browser cannot play the file: it may lack the decoder, or '
        "the file may be damaged. What was read in it is below.</p></figure>"
        f'<figure><img class="evidence" src="{escape(picture)}" alt="{shown}"><figcaption>{shown}</figcaption>'
        '<p class="unplayable" role="status" hidden>This frame cannot be read: the file may be damaged.</p></figure>'
        "</div>"
    )


def _render_window(clip: Clip, caption: WindowCaption, place: int, is_best: bool, query: str) -> tuple[str, str]:
    """A window as a segment of the strip and as a row below it."""
    texts, matching = [track.text for track in caption.tracks], _matching(caption, query)
    marked = " ".join(f"<mark>{escape(text)}</mark>" if text in matching else escape(text) for text in texts)
    kinds = {"text": bool(texts), "match": bool(matching), "best": is_best}
    kind = " ".join(name for name, holds in kinds.items() if holds)
    times = f"{clock(caption.start)}–{clock(caption.end)}"
    picture, shown = _picture(clip, caption, query), _tell_picture(matching, is_best)
    data = _attributes(start=f"{caption.start:.3f}", end=f"{caption.end:.3f}", picture=picture, shown=shown)
    current = 'aria-current="true"' if is_best else ""
    segment = f'<span class="segment {kind}" {data} title="{times}"></span>'
    row = (
        f'<li><button type="button" class="window {kind}" {data} {current}><span class="time">{times}</span>'
        f'<span class="read">{marked or "no text"}</span></button></li>'
    )
    return segment, row


def _matching(caption: WindowCaption, query: str) -> set[str]:
    """The texts of a window that the query names."""
    texts = [track.text for track in caption.tracks]
    return set(matching_texts(query, texts, limit=len(texts)))


def _tell_picture(matching: set[str], is_best: bool) -> str:
    """What a window's frame shows, see [`Hit.draw`]."""
    if matching:
        return "the frame with the matching text, outlined"
    return "a frame of the best window" if is_best else "a frame of this window"


def _picture(clip: Clip, caption: WindowCaption, query: str) -> str:
    return _link("evidence", clip, query=query, start=f"{caption.start:.3f}")


def _link(route: str, clip: Clip, **parameters: str) -> str:
    version = {"v": clip.content_hash[:8]}  # so that a browser keeps no picture of what a file was before
    return f"{route}/{clip.id}?{urlencode({**parameters, **version})}"


def _attributes(**values: str) -> str:
    return " ".join(f'data-{name}="{escape(value)}"' for name, value in values.items())
