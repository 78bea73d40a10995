"""Videos that come in through the page: kept in one folder, under plain names, up to a size and a number."""

import os
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tcd_hf.reading.files import VIDEO_EXTENSIONS, FoundVideos, scan_videos

__all__ = ["UploadError", "UploadFolder", "videos_under"]

MAX_NAME_BYTES = 120
ARRIVING = (".upload-", ".part")  # how names of files that are still arriving begin and end


class UploadError(Exception):
    """An upload that is refused: the message says why, `status` is that of HTTP."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class UploadFolder:
    """A folder of uploaded videos, of one server. Other files in it are never touched: it knows what it was sent.

    Args:
        folder (`Path`): made if need be. What a server that was killed had received in part is removed.
        max_megabytes (`int`): that one file may have.
        max_files (`int`): that the folder may hold.

    Raises:
        ValueError: there is something else than a folder.
    """

    def __init__(self, folder: Path, max_megabytes: int, max_files: int):
        self.folder = folder.expanduser().absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ValueError(f"Uploads need a folder, but {self.folder} is a file, or lies below one.") from error
        for file in self.folder.glob("*".join(ARRIVING)):
            file.unlink()
        self.max_megabytes, self.max_files = max_megabytes, max_files
        self._received: set[str] = set()

    async def save(self, name: str, chunks: AsyncIterator[bytes]) -> str:
        """Writes a file as it arrives and returns the name it got: the one it had, made plain and new.

        Raises:
            UploadError: a name that ends like no video, a file that is empty or too large, a folder that is full.
        """
        stem, suffix = _plain_name(name)
        if sum(1 for file in self.folder.iterdir()) >= self.max_files:  # uploads under way count
            raise UploadError(f"The folder for uploads is full: it holds {self.max_files} files.", 507)
        handle, temporary = tempfile.mkstemp(prefix=ARRIVING[0], suffix=ARRIVING[1], dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                size = 0
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self.max_megabytes * 1_000_000:
                        raise UploadError(f"{name} is larger than {self.max_megabytes} MB.", 413)
                    stream.write(chunk)
            if size == 0:
                raise UploadError(f"{name} is empty.", 400)
            os.chmod(temporary, 0o644)
            return self._give_name(temporary, stem, suffix)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _give_name(self, temporary: str, stem: str, suffix: str) -> str:
        """Moves the file to the first name that is free; made first, so that no other upload takes it between."""
        for number in range(1, self.max_files + 2):
            name = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
            try:
                (self.folder / name).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.replace(temporary, self.folder / name)
            self._received.add(name)
            return name
        raise UploadError(f"There are too many files called {stem}{suffix}.", 507)

    def path(self, name: str) -> Path:
        """Where an uploaded file is.

        Raises:
            ValueError: no name that [`~UploadFolder.save`] gave.
        """
        if name not in self._received:
            raise ValueError(f"{name!r} was not uploaded here.")
        return self.folder / name

    def discard(self, name: str) -> None:
        """Removes a file if it was uploaded."""
        if name in self._received:
            self._received.remove(name)
            (self.folder / name).unlink(missing_ok=True)


def videos_under(path: str, roots: list[Path]) -> FoundVideos:
    """The video of a path, or those of a folder, if they lie below an allowed folder, also when links are followed; and
    what else there is.

    Raises:
        ValueError: elsewhere, or no video there; the message does not tell what there is elsewhere.
    """
    refusal = ValueError(f"Only what lies in {' or '.join(map(str, roots))} can be added by its path.")
    if not isinstance(path, str) or "\0" in path or not path.strip():
        raise refusal
    asked = Path(path.strip())
    real_roots = [root.resolve() for root in roots]

    def is_inside(file: Path) -> bool:
        return any(file.resolve().is_relative_to(root) for root in real_roots)

    candidates = [asked] if asked.is_absolute() else [root / asked for root in roots]
    for candidate in candidates:
        if is_inside(candidate) and candidate.exists():
            videos, others = scan_videos([candidate])
            inside = [file for file in videos if is_inside(Path(file))]
            return FoundVideos(inside, [other for other in others if is_inside(Path(other.path))])
    if any(map(is_inside, candidates)):
        raise ValueError(f"There is no {path.strip()!r} there.")
    raise refusal


def _plain_name(name: str) -> tuple[str, str]:
    """Stem and suffix that are a file's name on any system, and nothing else."""
    name = re.split(r"[/\\]", name)[-1]
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in VIDEO_EXTENSIONS:
        raise UploadError(f"{name!r} does not end like a video: {' '.join(sorted(VIDEO_EXTENSIONS))}.", 415)
    stem = re.sub(r"[^\w .,()+-]", "_", stem).strip(" .") or "video"
    return stem.encode()[:MAX_NAME_BYTES].decode(errors="ignore"), suffix.lower()
