"""Times of a video, for people."""

__all__ = ["clock"]


def clock(seconds: float) -> str:
    """As players show time, with tenths: 0:02.5, 1:05.3, 1:02:05.3."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"
