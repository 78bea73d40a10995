"""The results of a search as HTML, and queries to try. Texts read in videos and file names are anybody's: escaped."""

from collections.abc import Mapping, Sequence

from tcd_hf.app.html_parts import asking, attributes, link, literal, moment_attributes, render_thumbnail, render_when
from tcd_hf.app.library import Clip
from tcd_hf.choices import DEFAULT_WITHIN, WEAK_BELOW
from tcd_hf.index.hits import Hit
from tcd_hf.index.moments import Moment
from tcd_hf.index.schema import video_id
from tcd_hf.visualization.html_report import WORDS

__all__ = ["render_examples", "render_hits"]

SHOWN_MOMENTS = 3  # of a hit, besides its best
NO_TEXT = "no text was read in this clip"
NOTHING = "no text in it names or means this"
MATCHING = "matched by what is seen or meant"
BEST = "what fits best here"  # of a score that does not tell whether it matches
NO_STRONG = '<p class="count">Nothing matches well.</p>'
MEANINGS = {  # of the fields of a hit that have a bar
    "text_video": "cosine of the query and what is seen",
    "text_ocr": "cosine of the query and the meaning of what is read",
    "text_hybrid": "cosine of the query and the clue distilled from both",
    "text_window": "cosine of the query and the caption nearest to it in meaning",
    "lexical": "share of the query's spelling in what is read",
}


def render_examples(queries: Sequence[str]) -> str:
    """Queries to try, as buttons."""
    if not queries:
        return ""
    buttons = "".join(f'<button type="button" class="example">{literal(query)}</button>' for query in queries)
    return f'<div class="examples"><span>Read in these videos:</span>{buttons}</div>'


def render_hits(
    query: str,
    hits: Sequence[Hit],
    clips: Mapping[str, Clip],
    num_videos: int,
    within: float = DEFAULT_WITHIN,
    tells_weak: bool = False,
) -> str:
    """The ranked list: every hit is a button that opens its clip at the best moment, with others for other moments.
    That a hit without a text matches is said only where weak matches are told (`tells_weak`)."""
    best = MATCHING if tells_weak else BEST
    items = [
        (hit, _render_hit(rank, query, hit, clips[clip_id], within, best))
        for rank, hit in enumerate(hits, start=1)
        if (clip_id := video_id(hit.path)) in clips  # it may have been removed a moment ago
    ]
    count = f"{len(hits)} of {num_videos:,} video{'s' if num_videos != 1 else ''}, best first"
    weak = "".join(item for hit, item in items if hit.is_weak)
    strong = "".join(item for hit, item in items if not hit.is_weak)
    shown = f'<ol class="hits">{strong}</ol>' if strong else NO_STRONG
    return f'<p class="count" role="status">{count}</p>{shown}{_render_weak(weak, is_open=not strong)}'


def _render_weak(items: str, is_open: bool) -> str:
    """Weak matches, folded; open if there are no others."""
    if not items:
        return ""
    summary = f"Weak matches: of hits that score below {WEAK_BELOW:g} fewer than one in ten is what was asked for"
    opened = " open" if is_open else ""
    return f'<details class="weak"{opened}><summary>{summary}</summary><ol class="hits">{items}</ol></details>'


def _render_hit(rank: int, query: str, hit: Hit, clip: Clip, within: float, best: str) -> str:
    bars = "".join(
        _render_no_text(name) if name == "text_ocr" and not clip.has_text else _render_bar(name, meaning, value)
        for name, meaning in MEANINGS.items()
        if (value := getattr(hit, name)) is not None
    )
    otherwise = NO_TEXT if not clip.has_text else NOTHING if hit.is_weak else best
    return (
        f'<li><button type="button" class="hit" {_opens(clip, query, hit, within)} aria-pressed="false">'
        f"{render_thumbnail(clip, hit.shown_time)}"
        f'<span class="about"><span class="heading"><span class="rank">{rank}</span>'
        f'<span class="title" title="{literal(clip.path)}">{literal(clip.title)}</span>'
        f'<span class="score" title="what hits are ranked by">{hit.score:.3f}</span></span>'
        f'<span class="words">{render_when(hit)}{"" if hit.evidence else otherwise}</span>'
        f'<span class="bars">{bars}</span></span></button>{_render_moments(query, hit, clip, within)}</li>'
    )


def _render_moments(query: str, hit: Hit, clip: Clip, within: float) -> str:
    """The other moments of a hit, as buttons that open its clip there."""
    buttons = "".join(
        f'<button type="button" class="moment" {_opens(clip, query, moment, within)}>{render_when(moment)}</button>'
        for moment in hit.moments[:SHOWN_MOMENTS]
    )
    return f'<div class="moments" role="group" aria-label="Other moments">{buttons}</div>' if buttons else ""


def _opens(clip: Clip, query: str, moment: Hit | Moment, within: float) -> str:
    """The attributes of a button that opens a clip at a moment."""
    return f"{attributes(clip=link('clip', clip, **asking(query, within)))} {moment_attributes(clip, query, moment)}"


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
