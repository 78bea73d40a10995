"""Times of a video, for people."""

import re

__all__ = ["clock", "read_clock"]

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds with tenths: 0:00:02.5, 1:02:05.3."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"


def read_clock(text: str) -> float:
    """Seconds of a time as people write it: `1:02:05.3`, `2:05`, `125` or `125.5`.

    Raises:
        ValueError: it is no time.
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time: write seconds, or hours, minutes and seconds, such as 1:02:05.3.")
    hours, minutes, seconds = match.groups(default="0")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
