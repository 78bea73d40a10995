"""Files in an object store: over S3's protocol, from a server in a process of its own."""

import io
import json
import os
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest

from tcd_hf.index.video_index import VideoIndex
from tcd_hf.processing.video_reading import VideoReadError, open_video
from tcd_hf.reading import object_stores
from tcd_hf.reading.cache import CacheError, CaptionCache, cache_place, default_cache_dir
from tcd_hf.reading.cutting import cut_out
from tcd_hf.reading.files import absolute_path, absolute_videos, file_stamp, find_videos, hash_file, scan_videos
from tcd_hf.reading.object_stores import BLOCK_BYTES, is_address, look_at, open_ranges, read_whole, replace_whole
from tests.clips import coded_frame, coded_frames, write_clip
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.reading.test_cache import CAPTIONS, KEY


@pytest.fixture
def makers(code_reader):
    return make_tiny_model(), make_tiny_processor(code_reader)


def put(address: str, content: bytes) -> str:
    """Puts a file there as any program does."""
    fsspec.filesystem("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).pipe_file(address, content)
    return address


@pytest.fixture
def shelf(store, clips) -> str:
    """The clips, in folders of a store, among other files."""
    for name, clip in clips.items():
        put(f"{store}/clips/{'deep/' if name == 'sea.mp4' else ''}{name}", clip.read_bytes())
    for name in ("note.txt", ".hidden/a.mp4", "folder/", "x//y.mp4", "../outside.mp4"):
        put(f"{store}/clips/{name}", b"x")
    put(f"{store}/clips-of-another.mp4", b"x")
    return f"{store}/clips"


class TestFiles:
    def test_a_file_is_written_read_and_looked_at(self, store):
        address = f"{store}/a b/ü.txt"
        with pytest.raises(FileNotFoundError):
            look_at(address)
        assert replace_whole(address, b"one", tag="") and not replace_whole(address, b"other", tag="")
        content, tag = read_whole(address)
        assert content == b"one" and look_at(address)[:2] == (address, 3)
        assert replace_whole(address, b"two", tag=tag) and not replace_whole(address, b"three", tag=tag)
        assert replace_whole(address, b"four") and read_whole(address)[0] == b"four"

    def test_an_address_is_one_of_an_object_store(self):
        assert is_address("s3://b/a.mp4") and is_address("S3://b") and not is_address("https://b/a.mp4")
        assert not is_address(Path("s3:/b")) and absolute_path("s3://b/folder/") == "s3://b/folder"

    def test_a_part_that_leads_elsewhere_is_refused(self, store):
        for address in (f"{store}/../a.mp4", f"{store}//a.mp4", f"{store}/./a.mp4"):
            with pytest.raises(ValueError, match="is no address of a file"):
                look_at(address)

    def test_folders_are_listed(self, shelf, store):
        found = scan_videos([shelf])
        names = [path.removeprefix(f"{shelf}/") for path in found.videos]
        assert names == ["airport.mp4", "deep/sea.mp4", "shop.mp4", "toys.mp4"]
        assert {(Path(file.path).name, file.kind) for file in found.left_out} == {
            ("note.txt", ".txt"),
            ("a.mp4", "hidden"),
        }
        assert find_videos([f"{shelf}/", f"{shelf}/shop.mp4"]) == found.videos
        assert absolute_videos(f"{shelf}/nothing.mp4").videos == [f"{shelf}/nothing.mp4"]  # told when it is opened
        for missing in (f"{shelf}/nothing.mp4", f"{shelf}/nothing"):
            with pytest.raises(FileNotFoundError, match="No such file or folder"):
                find_videos([missing])

    def test_stamp_and_hash_follow_the_content(self, store):
        address = put(f"{store}/a.mp4", b"one")
        stamp, digest = file_stamp(address), hash_file(address)
        assert file_stamp(address) == stamp and hash_file(address) == digest == hash_file(put(f"{store}/b.mp4", b"one"))
        put(address, b"two")  # of the same size, in the same second
        assert file_stamp(address).size == stamp.size and file_stamp(address) != stamp and hash_file(address) != digest

    def test_of_a_large_file_only_what_is_asked_for_is_sent(self, bad_line, store):
        content = np.random.default_rng(0).bytes(5 * BLOCK_BYTES)
        address = put(f"{store}/large", content)
        bad_line.bytes_sent = 0
        with open_ranges(address) as file:
            assert file.seek(-10, io.SEEK_END) == len(content) - 10 and file.read() == content[-10:]
            file.seek(3)
            assert file.read(4) == content[3:7] and file.tell() == 7 and file.name == address
        assert BLOCK_BYTES < bad_line.bytes_sent < 2.1 * BLOCK_BYTES


class TestCache:
    def test_captions_come_back(self, store):
        cache = CaptionCache(f"{store}/cache/")
        assert cache.load(KEY, "a") is None
        cache.save(KEY, "a", CAPTIONS)
        assert cache.load(KEY, "a") == CAPTIONS and cache.load(KEY, "b") is None
        assert json.loads(read_whole(f"{store}/cache/captions-1/{KEY[:2]}/{KEY}-a.json")[0])[1]["text"] == ""

    def test_the_environment_may_name_a_store(self, store, monkeypatch, tmp_path):
        monkeypatch.setenv("TCD_HF_CACHE", f"{store}/cache")
        assert CaptionCache().folder == f"{store}/cache" and isinstance(default_cache_dir(), Path)
        assert cache_place(tmp_path) == tmp_path

    def test_a_store_that_does_not_answer_is_told(self, store, monkeypatch):
        cache = CaptionCache("s3://no-such-bucket/cache")
        with pytest.raises(CacheError, match="The cache folder s3://no-such-bucket/cache cannot be written"):
            cache.save(KEY, "a", CAPTIONS)


class TestVideos:
    def test_they_are_indexed_from_there_and_looked_at_once(self, shelf, clips, makers, store, tmp_path, bad_line):
        index = VideoIndex.create(tmp_path / "index", *makers, cache_dir=f"{store}/cache")
        report = index.add([shelf, f"{shelf}/missing.mp4"], workers=0)
        assert len(report.added) == 4 and [video.path for video in report.skipped] == [f"{shelf}/missing.mp4"]
        assert "No such file" in report.skipped[0].cause or "There is no such file" in report.skipped[0].cause
        hit = index.search("the store TESCO express", top_k=1)[0]
        assert (hit.path, hit.evidence) == (f"{shelf}/shop.mp4", ["TESCO express"])
        local = VideoIndex.create(tmp_path / "local", *makers, cache_dir=tmp_path / "cache")
        local.add(clips.values(), workers=0)
        assert index.captions_of(f"{shelf}/shop.mp4") == local.captions_of(clips["shop.mp4"])
        bad_line.requests.clear()
        assert len(index.add(shelf, workers=0).unchanged) == 4
        assert not [request for request in bad_line.requests if request.startswith("GET") and ".mp4" in request]
        put(f"{shelf}/shop.mp4", clips["toys.mp4"].read_bytes())
        report = index.refresh(shelf, workers=0)
        assert report.replaced == [f"{shelf}/shop.mp4"] and len(report.unchanged) == 3
        fsspec.filesystem("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).rm(f"{shelf}/deep/sea.mp4")
        assert index.refresh(shelf, workers=0).removed == [f"{shelf}/deep/sea.mp4"]
        assert index.remove(shelf) == 3

    @pytest.mark.slow
    @pytest.mark.workers
    def test_the_command_line_reads_them_in_processes(self, shelf, store, run):
        done = run("index", shelf, "--index", f"{store}/index", "--cache-dir", f"{store}/cache", "--json")
        assert done.exit_code == 0 and len(json.loads(done.stdout)["added"]) == 4, done.stderr
        assert f"{shelf}" in run("list", "--index", f"{store}/index").stdout
        found = run("search", "star wars", "--index", f"{store}/index", "--json", "--folder", f"{shelf}/toys.mp4")
        assert f"{shelf}/toys.mp4" in found.stdout and "shop.mp4" not in found.stdout, found.stderr

    def test_an_empty_folder_empties_no_index(self, shelf, makers, tmp_path):
        index = VideoIndex.create(tmp_path / "index", *makers, cache_dir=tmp_path / "cache")
        index.add([f"{shelf}/toys.mp4"], workers=0)
        with pytest.raises(FileNotFoundError, match="Nothing was removed"):
            index.refresh(f"{shelf}/empty", workers=0)
        assert len(index) == 1

    @pytest.mark.slow  # each piece is asked for ten times
    def test_half_of_a_video_is_not_taken_for_all_of_it(self, bad_line, store, makers, tmp_path, monkeypatch):
        """Readers go on past what they do not get; a store that breaks off must not make a shorter video."""
        monkeypatch.setattr(object_stores, "BLOCK_BYTES", 1 << 18)
        monkeypatch.setattr(object_stores, "BLOCKS_HELD", 2)
        frames = [np.random.default_rng(n).integers(0, 255, (240, 320, 3), np.uint8) for n in range(120)]
        clip = write_clip(tmp_path / "long.mp4", frames, fps=5)
        assert clip.stat().st_size > 10 * object_stores.BLOCK_BYTES
        address = put(f"{store}/long.mp4", clip.read_bytes())
        index = VideoIndex.create(tmp_path / "index", *makers, cache_dir=tmp_path / "cache")
        num_pieces = clip.stat().st_size // object_stores.BLOCK_BYTES
        for num_good in (1, num_pieces // 2, num_pieces + num_pieces // 2):  # while it is opened, counted, decoded
            asked = []

            def fault(request, asked=asked, num_good=num_good) -> str:
                if request.method != "GET" or "long.mp4" not in request.path:
                    return ""
                asked.append(1)
                return "half" if len(asked) > num_good else ""

            bad_line.fault = fault
            (skipped,) = index.add([address], workers=0).skipped
            assert "its store does not give it (the connection broke off)" in skipped.cause and len(index) == 0
        bad_line.fault = lambda request: ""
        assert index.add([address], workers=0).added == [address]
        assert index.read(["duration"])["duration"].to_pylist() == [24.0]

    @pytest.mark.parametrize("ending", [".mp4", ".ts"])
    def test_a_moment_is_cut_out_as_of_a_file(self, store, tmp_path, ending):
        video = write_clip(tmp_path / f"a{ending}", coded_frames(80), fps=10, keyframe_interval=10)
        cuts = [
            cut_out(place, 3.05, 4.55, tmp_path / name)
            for place, name in ((video, "one"), (put(f"{store}/a{ending}", video.read_bytes()), "other"))
        ]
        assert cuts[0].offset == cuts[1].offset and cuts[0].file.read_bytes() == cuts[1].file.read_bytes()

    def test_of_a_video_that_is_cut_little_is_sent_and_of_a_broken_one_nothing_stays(
        self, bad_line, store, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(object_stores, "BLOCK_BYTES", 1 << 16)
        frames = [np.random.default_rng(n).integers(0, 255, (120, 160, 3), np.uint8) for n in range(100)]
        clip = write_clip(tmp_path / "long.mp4", frames, fps=5, keyframe_interval=5)
        address = put(f"{store}/long.mp4", clip.read_bytes())
        bad_line.bytes_sent = 0
        cut = cut_out(address, 10.0, 11.0, tmp_path / "part")
        assert cut.file.stat().st_size > 0 and bad_line.bytes_sent < clip.stat().st_size / 2
        cut.file.unlink()
        asked = []

        def fault(request) -> str:
            asked.append(request)
            return "half" if request.method == "GET" and len(asked) > 3 else ""

        bad_line.fault = fault
        with pytest.raises(VideoReadError, match="its store does not give it"):
            cut_out(address, 10.0, 11.0, tmp_path / "part")
        bad_line.fault = lambda request: ""
        with pytest.raises(VideoReadError, match="There is no such file"):
            cut_out(f"{store}/missing.mp4", 10.0, 11.0, tmp_path / "part")
        assert list(tmp_path.glob("*part*")) == []

    def test_other_addresses_are_not_opened(self, tmp_path, makers):
        with pytest.raises(ValueError, match="it is an address, and none is opened"):
            find_videos(["https://example.org/a.mp4"])
        with pytest.raises(ValueError, match="it is an address, and none is opened"):
            open_video("s3://bucket/a.mp4")


def test_a_file_that_is_there_is_no_other(tmp_path):
    """A folder of this machine whose name looks like an address."""
    place = tmp_path / "s3:" / "b"
    place.mkdir(parents=True)
    shutil.copy(write_clip(tmp_path / "a.mp4", [coded_frame(1)] * 5, fps=5), place)
    assert find_videos([str(place)]) == [str(place / "a.mp4")]
