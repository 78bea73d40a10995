"""A hit as a small piece of HTML, for notebooks."""

import os
from html import escape
from typing import TYPE_CHECKING

from tcd_hf.clock import clock
from tcd_hf.printable import one_line

if TYPE_CHECKING:
    from tcd_hf.index.hits import Hit
    from tcd_hf.index.moments import Moment

__all__ = ["hit_card"]


def hit_card(hit: "Hit") -> str:
    """Name, score, times and evidence of a hit and of its other moments. No video is read.

    A weak match and texts that match by meaning say so.
    Names and texts are anybody's: they are escaped, and control characters and marks of direction spelt out.
    """
    path = one_line(hit.path)
    moments = "".join(f"<div>{_times(moment)}</div>" for moment in hit.moments)
    score = f"{hit.score:.3f}" + (" <small>weak match</small>" if hit.is_weak else "")
    return (
        f'<div style="border-left: 3px solid #0072b2; padding: 0 .6em"><b title="{escape(path)}">'
        f"{escape(one_line(os.path.basename(hit.path)))}</b> {score}<div>{_times(hit)}</div>{moments}</div>"
    )


def _times(moment: "Hit | Moment") -> str:
    meant = {box["text"] for box in moment.boxes if box.get("match") == "means"}
    texts = " ".join(
        f"<mark>{escape(one_line(text))}</mark>{' <small>by meaning</small>' if text in meant else ''}"
        for text in moment.evidence
    )
    return f"{clock(moment.start)}–{clock(moment.end)} {texts}".rstrip()
