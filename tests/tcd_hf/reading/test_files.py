import hashlib
import os

import pytest

from tcd_hf.reading.files import find_videos, hash_file, write_whole


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_what_is_written_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    for content in (b"first", b"then"):
        write_whole(tmp_path / "whole", content)
        assert (tmp_path / "whole").read_bytes() == content
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "usual").stat().st_mode
    with pytest.raises(TypeError):
        write_whole(tmp_path / "whole", "no bytes")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["usual", "whole"]


def test_folders_are_searched_recursively_in_order(tmp_path):
    names = ["b.MP4", "a/z.webm", "a/y.mkv", "notes.txt", ".hidden.mp4", ".git/c.mp4", "a/b c é/x.mov"]
    for name in names:
        touch(tmp_path / name)
    found = [os.path.relpath(path, tmp_path) for path in find_videos([tmp_path])]
    assert found == ["b.MP4", "a/y.mkv", "a/z.webm", "a/b c é/x.mov"]


def test_links_are_followed_once_and_loops_end(tmp_path):
    folder = tmp_path / "videos"
    video = touch(folder / "a.mp4")
    elsewhere = touch(tmp_path / "elsewhere" / "b.mp4")
    try:
        (folder / "loop").symlink_to(folder, target_is_directory=True)
    except OSError as error:  # Windows asks for a right that few have
        pytest.skip(f"links cannot be made here: {error}")
    (folder / "linked").symlink_to(elsewhere.parent, target_is_directory=True)
    (folder / "same.mp4").symlink_to(video)
    assert find_videos([folder, folder, elsewhere]) == [str(video), str(folder / "linked" / "b.mp4")]


def test_a_named_file_is_taken_whatever_its_ending(tmp_path):
    assert find_videos([touch(tmp_path / "clip.bin")]) == [str(tmp_path / "clip.bin")]


def test_nothing_found_says_what_was_looked_for(tmp_path):
    touch(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"\.avi .*\.mp4 .*\.webm"):
        find_videos([tmp_path])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_videos([tmp_path, tmp_path / "nowhere"])


def test_files_are_hashed_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("tcd_hf.reading.files.HASH_CHUNK_BYTES", 3)
    (tmp_path / "v").write_bytes(b"0123456789")
    assert hash_file(tmp_path / "v") == hashlib.blake2b(b"0123456789", digest_size=20).hexdigest()
