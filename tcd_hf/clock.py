"""Times of a video, for people."""

__all__ = ["clock"]


def clock(seconds: float) -> str:
    """Hours, minutes and seconds with tenths: 0:00:02.5, 1:02:05.3."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{tenths // 10:02d}.{tenths % 10}"
