"""Media files that something went wrong with, made from whole ones; see `__main__.py`."""

from scripts.damaged_media.clips import render_clips
from scripts.damaged_media.kinds import KINDS, DamagedFile, damaged_files

__all__ = ["KINDS", "DamagedFile", "damaged_files", "render_clips"]
