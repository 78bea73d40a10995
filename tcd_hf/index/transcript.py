"""What is read in a video, as a person reads it: each text once, with the time for which it is seen (ours)."""

from collections import defaultdict
from collections.abc import Iterable

from tcd_hf.index.lexical import fold
from tcd_hf.index.moments import MAX_PAUSE, ROUNDING, are_alike
from tcd_hf.processing.text_tracks import WHOLE_FRAME, TextTrack
from tcd_hf.processing.window_ocr import WindowCaption
from tcd_hf.reading.text_files import Cue

__all__ = ["transcript"]


def transcript(captions: Iterable[WindowCaption]) -> list[Cue]:
    """The texts of a video, one cue for as long as a text is seen without a pause.

    Windows cut what is seen; here it is joined again, by the rule by which moments are: readings of one text, slips
    allowed, that follow on each other within `MAX_PAUSE` seconds. Of their spellings the one that is seen longest
    stays. Texts that the video came with are joined where they were cut, and nowhere else.

    Args:
        captions (`Iterable[WindowCaption]`): of the windows of one video, in the order of time. One without tracks is a
            text for as long as its window lasts.

    Returns:
        `list[Cue]` by their starts; of those that start together, the most salient first.
    """
    cues: list[_Seen] = []
    open_cues: dict[tuple[str, str], list[_Seen]] = {}  # by source, and by text where only the same one goes on
    for caption in captions:
        for key, seen_lately in list(open_cues.items()):
            open_cues[key] = [cue for cue in seen_lately if caption.start - cue.end <= MAX_PAUSE]
            if not open_cues[key]:
                del open_cues[key]
        tracks = caption.tracks or [TextTrack(caption.text, 1.0, caption.start, caption.end, WHOLE_FRAME)]
        for track in tracks:
            if not track.text:
                continue
            folded = fold(track.text)
            alike = open_cues.setdefault((track.source, "" if track.source == "ocr" else track.text), [])
            seen = next((cue for cue in alike if cue.goes_on(track, folded)), None)
            if seen is None:
                seen = _Seen(track, folded)
                cues.append(seen)
                alike.append(seen)
            seen.add(track)
    return sorted((cue.finish() for cue in cues), key=lambda cue: cue.start)


class _Seen:
    """A text that is seen, as far as is known."""

    def __init__(self, track: TextTrack, folded: str):
        self.start, self.end, self.source = track.start, track.end, track.source
        self._folded = folded
        self._seconds: dict[str, float] = defaultdict(float)

    def goes_on(self, track: TextTrack, folded: str) -> bool:
        """Whether a track of the same or the next window is the same text."""
        pause = max(track.start - self.end, self.start - track.end)
        if track.source != self.source or pause > MAX_PAUSE:
            return False
        if track.source == "ocr" and folded:
            return are_alike(self._folded, folded)
        return track.text in self._seconds and (track.source == "ocr" or pause <= ROUNDING)

    def add(self, track: TextTrack) -> None:
        self.start, self.end = min(self.start, track.start), max(self.end, track.end)
        self._seconds[track.text] += track.end - track.start

    def finish(self) -> Cue:
        text = max(self._seconds, key=self._seconds.__getitem__)
        return Cue(self.start, self.end, text, self.source)
