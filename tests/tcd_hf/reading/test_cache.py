import hashlib
import os

import pytest

from tcd_hf.processing.window_ocr import TextTrack, WindowCaption
from tcd_hf.reading.cache import CacheError, CaptionCache, default_cache_dir, writing_to
from tcd_hf.reading.segments import Segment

KEY = hashlib.blake2b(b"video", digest_size=20).hexdigest()
CAPTIONS = [
    WindowCaption(
        start=0.0,
        end=1.5,
        text="café £1.30",
        tracks=[TextTrack(text="café £1.30", confidence=0.9, start=0.0, end=1.5, box=(0.1, 0.2, 0.3, 0.4))],
    ),
    WindowCaption(start=1.5, end=3.0, text="", tracks=[]),
]


def entries(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_captions_come_back(tmp_path):
    cache = CaptionCache(tmp_path)
    assert cache.load(KEY, "a") is None
    cache.save(KEY, "a", CAPTIONS)
    assert cache.load(KEY, "a") == CAPTIONS
    assert cache.load(KEY, "b") is None  # other settings
    assert cache.load(KEY[::-1], "a") is None  # another video


def test_an_entry_is_named_by_content_settings_and_segment(tmp_path):
    cache = CaptionCache(tmp_path)
    cache.save(KEY, "a", CAPTIONS)
    assert entries(tmp_path) == [tmp_path / "captions-1" / KEY[:2] / f"{KEY}-a.json"]
    cache.save(KEY, "a", CAPTIONS, Segment(0, 1, 0.0, 3.0))  # the whole video
    assert len(entries(tmp_path)) == 1
    for number in range(2):
        cache.save(KEY, "a", CAPTIONS[number:], Segment(number, 2, 1.5 * number, 1.5 * (number + 1)))
    assert [path.name for path in entries(tmp_path)] == [
        f"{KEY}-a-00000-of-00002.json",
        f"{KEY}-a-00001-of-00002.json",
        f"{KEY}-a.json",
    ]
    assert cache.load(KEY, "a", Segment(1, 2, 1.5, 3.0)) == CAPTIONS[1:]
    assert cache.load(KEY, "a", Segment(1, 3, 1.0, 2.0)) is None
    assert cache.load(KEY, "a") == cache.load(KEY, "a", Segment(0, 1, 0.0, 3.0)) == CAPTIONS


@pytest.mark.parametrize(
    "damage", [b"", b"[{", b'{"start": 0}', b"[1, 2]", b'[{"start": 0}]', b"\xff\xfe\x00junk", b"\x00" * 100]
)
def test_a_damaged_entry_is_a_miss_and_is_replaced(tmp_path, caplog, damage):
    cache = CaptionCache(tmp_path)
    cache.save(KEY, "a", CAPTIONS)
    for path in entries(tmp_path):
        path.write_bytes(damage)
    assert cache.load(KEY, "a") is None
    assert str(tmp_path) in caplog.text
    cache.save(KEY, "a", CAPTIONS)
    assert cache.load(KEY, "a") == CAPTIONS


def test_a_write_that_breaks_off_leaves_the_old_entry_and_no_rubbish(tmp_path, monkeypatch):
    cache = CaptionCache(tmp_path)
    cache.save(KEY, "a", CAPTIONS)

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.save(KEY, "a", [])
    assert cache.load(KEY, "a") == CAPTIONS
    assert len(entries(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match=r"file cannot be written.*--cache-dir"):
        CaptionCache(tmp_path / "file").save(KEY, "a", CAPTIONS)


def test_the_environment_names_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "mine"))
    assert default_cache_dir() == CaptionCache().folder == tmp_path / "mine"
    monkeypatch.delenv("TCD_HF_CACHE")
    assert default_cache_dir().name == "tcd-hf"


def test_errors_of_other_kinds_are_no_errors_of_the_cache(tmp_path):
    with pytest.raises(KeyError), writing_to(tmp_path):
        raise KeyError
    with pytest.raises(CacheError, match="once"), writing_to(tmp_path), writing_to(tmp_path):
        raise CacheError("once")


def test_entries_of_another_form_are_not_looked_at(tmp_path, monkeypatch):
    CaptionCache(tmp_path).save(KEY, "a", CAPTIONS)
    monkeypatch.setattr("tcd_hf.reading.cache.FORMAT_VERSION", 99)
    assert CaptionCache(tmp_path).load(KEY, "a") is None
