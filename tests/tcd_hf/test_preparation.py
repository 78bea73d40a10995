"""Prepared data: the same inputs as from the files, read once, whatever happens on the way."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features, Value, concatenate_datasets, load_from_disk
from transformers import CLIPImageProcessor, Siglip2ImageProcessor, SiglipImageProcessor

from tcd_hf.data import preparation
from tcd_hf.data.preparation import join_shards, prepare_videos, shard_folder
from tcd_hf.data.prepared_data import (
    PREPARED_FEATURES,
    check_image_processor,
    check_prepared,
    prepare_video,
    save_split,
)
from tcd_hf.data.retrieval_datasets import FEATURES, MOMENTS, MissingFilesError
from tcd_hf.data.video_folder import FOLDER_FEATURES, load_video_folder
from tcd_hf.evaluation.embedding import embed_dataset
from tcd_hf.processing.video_reading import VideoReadError
from tcd_hf.reading import video_reader
from tcd_hf.training.batching import PairCollator, Pairs
from tests.clips import coded_frame, text_clip, write_audio, write_clip
from tests.tcd_hf.conftest import NUM_FRAMES, CodeReader, make_tiny_model, make_tiny_processor
from tests.tcd_hf.deadly import DeadlyReader


def prepare_dataset(dataset, processor, folder, split, num_proc=0, *options, **further):
    """Reads in this process, unless told otherwise: there tests see what is read."""
    return preparation.prepare_dataset(dataset, processor, folder, split, num_proc, *options, **further)


LEVELS = 30  # of 255, by which a pixel is off at most after JPEG


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def processor(code_reader):
    return make_tiny_processor(code_reader)


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Paths of the videos that were opened, in order."""
    opened = []

    def open_video(path, **options):
        opened.append(Path(path).name)
        return real(path, **options)

    real = video_reader.open_video
    monkeypatch.setattr(video_reader, "open_video", open_video)
    return opened


def table(paths, ocr=None, **columns) -> Dataset:
    """Rows as `load_retrieval_dataset` gives them."""
    rows = [
        {
            "video_id": Path(path).stem,
            "video": str(path),
            "captions": [f"a video of {Path(path).stem}", "another caption"],
            "query_types": ["text", None],
            "ocr": ocr,
            **columns,
        }
        for path in paths
    ]
    extra = {name: Value("string") for name in columns}
    return Dataset.from_list(rows, Features({**FEATURES, **extra}), split="train")


def pixels(dataset: Dataset) -> np.ndarray:
    return np.array([[np.asarray(frame) for frame in frames] for frames in dataset["frames"]]).astype(int)


def is_mapped(folder: Path) -> bool:
    """Whether this process holds files of a folder, which could then not be deleted on Windows."""
    return str(folder) in Path("/proc/self/maps").read_text()


def without_frames(dataset: Dataset) -> list[dict]:
    return list(dataset.remove_columns("frames"))


class TestRows:
    def test_inputs_are_those_of_the_files(self, clips, processor, tmp_path):
        report = prepare_dataset(table(clips.values(), group="g"), processor, tmp_path / "out", "train")
        assert report.num_videos == 4 and report.bad_videos == {} and not report.reused
        rows = load_from_disk(tmp_path / "out")["train"]
        assert rows.features == {**PREPARED_FEATURES, "group": Value("string")}
        expected = processor(text=["x"], videos=list(clips.values()))
        made = processor(text=["x"], videos=list(rows["frames"]), ocr_captions=list(rows["ocr_captions"]))
        for name in ("ocr_input_ids", "ocr_attention_mask", "ocr_mask"):
            assert made[name].equal(expected[name])
        deviation = np.array(processor.image_processor.image_std).reshape(3, 1, 1) * 255
        error = np.abs((made.pixel_values_videos - expected.pixel_values_videos).numpy() * deviation)
        assert error.max() <= LEVELS and error.mean() < 2
        assert expected.pixel_values_videos.std() > 0.5

    def test_columns(self, clips, processor, tmp_path):
        prepare_dataset(table([clips["airport.mp4"]], group="g"), processor, tmp_path / "out", "train")
        (row,) = without_frames(load_from_disk(tmp_path / "out")["train"])
        captions = processor.caption(clips["airport.mp4"])[0]
        assert captions[0].text and not captions[3].text
        assert row == {
            "video_id": "airport",
            "captions": ["a video of airport", "another caption"],
            "query_types": ["text", None],
            "ocr_captions": [caption.text for caption in captions],
            "ocr_mask": [True, True, False, False],
            "window_starts": [0.0, 1.0, 2.0, 3.0],
            "window_ends": [1.0, 2.0, 3.0, 4.0],
            "duration": 4.0,
            "group": "g",
        }

    def test_several_processes_give_the_same(self, clips, processor, tmp_path):
        for num_proc in (1, 2):  # with a cache each: both read
            out, own_cache = tmp_path / str(num_proc), tmp_path / f"cache {num_proc}"
            assert prepare_dataset(table(clips.values()), processor, out, "train", num_proc, own_cache).num_videos == 4
        one, two = (load_from_disk(tmp_path / number)["train"] for number in "12")
        assert one.features == two.features and list(one.with_format("arrow")) == list(two.with_format("arrow"))

    def test_without_text(self, clips, cache, tmp_path):
        prepare_dataset(table([clips["shop.mp4"]]), make_tiny_processor(None), tmp_path, "train")
        (row,) = load_from_disk(tmp_path)["train"]
        assert row["ocr_captions"] == [""] * NUM_FRAMES and row["ocr_mask"] == [False] * NUM_FRAMES
        assert not cache.exists()

    def test_shipped_ocr(self, clips, code_reader, tmp_path):
        readings = [
            {"text": "OPEN", "confidence": 0.9, "start_frame": 0, "end_frame": 6},
            {"text": "shut", "confidence": None, "start_frame": 15, "end_frame": 20},
            {"text": "blur", "confidence": 0.2, "start_frame": 0, "end_frame": 20},
        ]
        processor = make_tiny_processor(code_reader)
        dataset = table([clips["shop.mp4"]], readings)
        prepare_dataset(dataset, processor, tmp_path, "train", shipped_ocr=True)
        assert load_from_disk(tmp_path)["train"]["ocr_captions"][0] == ["OPEN", "OPEN", "", "shut"]  # 5 frames a second
        assert code_reader.images_read == 0
        prepare_dataset(dataset, processor, tmp_path, "train")
        assert "TESCO" in load_from_disk(tmp_path)["train"]["ocr_captions"][0][2]
        read = code_reader.images_read
        assert read > 0
        prepare_dataset(table([clips["shop.mp4"]], []), processor, tmp_path, "train", shipped_ocr=True)  # shows no text
        assert load_from_disk(tmp_path)["train"]["ocr_captions"][0] == [""] * NUM_FRAMES
        assert code_reader.images_read == read
        other = table([clips["toys.mp4"]])  # nothing shipped for it
        prepare_dataset(other, processor, tmp_path, "train", shipped_ocr=True)
        assert load_from_disk(tmp_path)["train"]["ocr_captions"][0] == ["", "STAR WARS", "", ""]
        assert code_reader.images_read > read

    def test_under_datasets_map(self, clips, processor, reads, tmp_path):
        table(clips.values()).save_to_disk(tmp_path / "table")
        dataset = load_from_disk(tmp_path / "table")
        features = Features({**PREPARED_FEATURES, "error": Value("string")})
        for _ in range(2):
            rows = dataset.map(
                prepare_videos,
                batched=True,
                remove_columns=["video", "ocr"],
                features=features,
                fn_kwargs={"processor": processor},
            )
            assert len(reads) == 4  # the fingerprint is that of the first run, and its rows are taken
        assert rows["error"][:] == [None] * 4 and rows[0]["frames"][0].size == (16, 16)


class TestShortClips:
    def test_frames_that_would_be_there_again_are_left_out(self, processor, tmp_path):
        path = tmp_path / "three.mp4"
        write_clip(path, [coded_frame(code, (64, 48)) for code in (1, 2, 3)], fps=1)
        prepare_dataset(table([path]), processor, tmp_path / "out", "train")
        rows = load_from_disk(tmp_path / "out")["train"]
        check_prepared(rows, processor)
        assert [frame is None for frame in rows[0]["frames"]] == [False, False, True, False]  # 0, 1, 1, 2
        expected = processor(videos=[path])
        made = processor.process_frames(rows[0]["frames"], rows[0]["ocr_captions"])
        assert made["frame_mask"].tolist() == expected["frame_mask"].tolist() == [[True, True, False, True]]
        pair = Pairs(rows)[0, 0, 0]
        assert PairCollator(processor)([pair])["frame_mask"].equal(expected["frame_mask"])
        model = make_tiny_model()
        _, _, features = embed_dataset(model, processor, rows, progress=False)
        assert features.frame_mask.bool().equal(expected["frame_mask"])


class TestRandomFrames:
    @pytest.fixture
    def prepare(self, processor, tmp_path):
        def prepare(paths, name="out", **options):
            prepare_dataset(table(paths), processor, tmp_path / name, "train", frame_sets=2, **options)
            return load_from_disk(tmp_path / name)["train"]

        return prepare

    def test_each_is_from_its_window_and_cut_alike(self, prepare, processor, tmp_path):
        """Every frame has a grey of its own, brighter to the right: it tells its time, and where it was cut."""
        ramp = np.linspace(0, 40, 64)[None, :, None]
        frames = [np.broadcast_to(index * 5 + ramp, (48, 64, 3)).astype(np.uint8) for index in range(40)]
        path = tmp_path / "ramp.mp4"
        write_clip(path, frames, fps=10)
        (row,) = prepare([path])
        shown = {}
        for name in ("frames_1", "frames_2"):
            pixels = np.stack([np.asarray(frame) for frame in row[name]]).astype(float)
            assert pixels.shape == (NUM_FRAMES, 16, 16, 3)
            across = pixels.mean(axis=(1, 3))
            steps = across[:, -1] - across[:, 0]
            assert steps.min() > 10 and np.ptp(steps) < 3  # all of the set cut alike, and none mirrored
            indices = (pixels.mean(axis=(1, 2, 3)) - 20) / 5
            assert all(10 * window - 4 <= index < 10 * window + 14 for window, index in enumerate(indices))
            shown[name] = indices
        assert np.abs(shown["frames_1"] - shown["frames_2"]).max() > 0.5

    def test_the_same_again_in_any_order(self, clips, prepare):
        paths = [clips["shop.mp4"], clips["airport.mp4"]]
        one, two = prepare(paths), prepare(paths[::-1], "again")
        for name in ("frames_1", "frames_2"):
            assert one.with_format("arrow")[:][name].to_pylist() == two.with_format("arrow")[:][name].to_pylist()[::-1]
        assert one[0]["frames_1"] != one[0]["frames_2"]

    def test_of_short_clips_only_the_crop_is_random(self, prepare, tmp_path):
        path = tmp_path / "three.mp4"
        write_clip(path, [coded_frame(code, (64, 48)) for code in (1, 2, 3)], fps=1)
        (row,) = prepare([path])
        for name in ("frames", "frames_1", "frames_2"):
            assert [frame is None for frame in row[name]] == [False, False, True, False]

    def test_settings_and_splits(self, clips, processor, reads, prepare, tmp_path):
        paths = list(clips.values())
        prepare(paths)
        read = len(reads)
        prepare(paths)
        assert len(reads) == read
        prepare_dataset(table(paths), processor, tmp_path / "out", "train")  # without: another preparation
        assert len(reads) > read
        rows = load_from_disk(tmp_path / "out")["train"]
        assert rows.features == PREPARED_FEATURES
        of_both = DatasetDict({"train": table(paths[:1]), "test": table(paths[1:2])})
        preparation.prepare_splits(of_both, processor, tmp_path / "both", 0, frame_sets=1)
        both = load_from_disk(tmp_path / "both")
        assert "frames_1" in both["train"].features and "frames_1" not in both["test"].features

    def test_other_numbers_of_frames_are_refused(self, clips, prepare, processor):
        rows = prepare(list(clips.values()))
        check_prepared(rows, processor)
        fewer = rows.map(lambda row: {"frames_2": row["frames_2"][:3]})
        with pytest.raises(ValueError, match=r"prepared with (3 or 4|4 or 3) frames"):
            check_prepared(fewer, processor)


class TestFrames:
    @pytest.mark.parametrize(
        "image_processor",
        [
            CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=64),
            Siglip2ImageProcessor(patch_size=8, max_num_patches=64),
        ],
        ids=["CLIP", "NaFlex"],
    )
    def test_are_what_the_image_processor_makes(self, image_processor):
        processor = make_tiny_processor()
        processor.image_processor = image_processor
        check_image_processor(processor)
        frames = text_clip([("OPEN", 0, 9)], duration=0.4, size=(161, 90), color="red", background="navy")
        captions = processor.captioner.caption_texts([""] * NUM_FRAMES, 4)
        row = prepare_video(processor, frames, captions)
        images = [PREPARED_FEATURES["frames"].feature.decode_example(frame) for frame in row["frames"]]
        expected = processor(videos=[np.stack(frames)], ocr_captions=[[""] * NUM_FRAMES])
        made = processor(videos=[images], ocr_captions=[[""] * NUM_FRAMES])
        assert made.keys() == expected.keys()
        for name in set(made) - {"pixel_values_videos"}:
            assert made[name].equal(expected[name])
        scale = 255 * max(image_processor.image_std)
        error = (made.pixel_values_videos - expected.pixel_values_videos).abs() * scale
        assert error.max() <= LEVELS and error.mean() < 2 and expected.pixel_values_videos.std() > 0.2

    def test_would_be_cropped_twice(self, clips, tmp_path):
        processor = make_tiny_processor()
        processor.image_processor = CLIPImageProcessor(size={"shortest_edge": 20}, crop_size=16)
        with pytest.raises(ValueError, match="same `size` and `crop_size`"):
            prepare_dataset(table(clips.values()), processor, tmp_path, "train")


class TestResuming:
    @pytest.fixture(autouse=True)
    def in_pieces(self, monkeypatch):
        monkeypatch.setattr(preparation, "PIECE", 2)

    def test_second_run_reads_nothing(self, clips, code_reader, processor, reads, tmp_path):
        def prepare(dataset=None, by=processor):
            return prepare_dataset(dataset or table(clips.values()), by, tmp_path / "out", "train")

        first = prepare()
        assert len(reads) == 4
        rows = list(load_from_disk(tmp_path / "out")["train"].with_format("arrow"))
        read = code_reader.images_read
        again = prepare(by=make_tiny_processor(CodeReader(code_reader.texts)))
        assert again.reused and again.fingerprint == first.fingerprint and again.num_videos == 4
        assert len(reads) == 4 and not list((tmp_path / "out").glob(".*"))

        # other settings and other captions: prepared again, but no text is read twice
        eight = make_tiny_processor(code_reader)
        eight.image_processor = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=8)
        assert not prepare(by=eight).reused
        assert load_from_disk(tmp_path / "out")["train"][0]["frames"][0].size == (8, 8)
        assert not prepare(table(clips.values(), group="one")).reused
        assert len(reads) == 12 and code_reader.images_read == read
        assert not prepare().reused
        assert list(load_from_disk(tmp_path / "out")["train"].with_format("arrow")) == rows

    def test_a_file_that_changed_is_read_again(self, clips, processor, reads, tmp_path):
        for _ in range(2):
            prepare_dataset(table([clips["sea.mp4"]]), processor, tmp_path / "out", "train")
        assert len(reads) == 1
        write_clip(clips["sea.mp4"], [coded_frame(1)] * 20, fps=5)
        report = prepare_dataset(table([clips["sea.mp4"]]), processor, tmp_path / "out", "train")
        assert len(reads) == 2 and not report.reused
        assert "TESCO" in load_from_disk(tmp_path / "out")["train"]["ocr_captions"][0][0]

    def test_goes_on_after_an_interruption(self, clips, processor, reads, tmp_path, monkeypatch):
        prepare_dataset(table(clips.values()), processor, tmp_path / "whole", "train")
        del reads[:]
        opened = video_reader.open_video

        def interrupted(path, **options):
            if len(reads) == 3:
                raise KeyboardInterrupt
            return opened(path, **options)

        monkeypatch.setattr(video_reader, "open_video", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_dataset(table(clips.values()), processor, tmp_path / "out", "train")
        assert not (tmp_path / "out" / "train").exists()
        monkeypatch.setattr(video_reader, "open_video", opened)
        prepare_dataset(table(clips.values()), processor, tmp_path / "out", "train")
        names = [path.name for path in clips.values()]
        assert reads == names[:3] + names[2:]
        one, two = (load_from_disk(tmp_path / name)["train"].with_format("arrow") for name in ("whole", "out"))
        assert list(one) == list(two)

    @pytest.mark.slow
    def test_goes_on_after_kill_9(self, clips, processor, reads, tmp_path):
        code = f"""
import os, signal, sys
from tcd_hf.data import preparation
from tcd_hf.reading import video_reader
from tests.tcd_hf.conftest import CodeReader, make_tiny_processor
from tests.tcd_hf.test_preparation import table
opened, count = video_reader.open_video, 0
def open_video(path, **options):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return opened(path, **options)
video_reader.open_video, preparation.PIECE = open_video, 2
processor = make_tiny_processor(CodeReader({processor.ocr_engine.texts!r}))
preparation.prepare_dataset(table(sys.argv[2:]), processor, sys.argv[1], "train", num_proc=0)
"""
        paths = [str(path) for path in clips.values()]
        root = Path(__file__).parents[2]
        command = [sys.executable, "-c", code, str(tmp_path / "out"), *paths]
        killed = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (tmp_path / "out" / "train").exists()
        read = processor.ocr_engine.images_read
        prepare_dataset(table(paths), processor, tmp_path / "out", "train")
        assert reads == [Path(path).name for path in paths[2:]]
        assert processor.ocr_engine.images_read > read  # the text of the fourth was not read yet
        prepare_dataset(table(paths), processor, tmp_path / "whole", "train")
        one, two = (load_from_disk(tmp_path / name)["train"].with_format("arrow") for name in ("whole", "out"))
        assert list(one) == list(two)


class TestBadVideos:
    @pytest.fixture
    def broken(self, tmp_path) -> list[Path]:
        (tmp_path / "empty.mp4").touch()
        (tmp_path / "words.mp4").write_text("this is no video")
        write_audio(tmp_path / "sound.mp4")
        return [tmp_path / name for name in ("empty.mp4", "words.mp4", "sound.mp4", "missing.mp4")]

    @pytest.mark.parametrize("num_proc", [1, 2])
    def test_are_dropped_and_reported(self, clips, broken, processor, num_proc, tmp_path, monkeypatch):
        monkeypatch.setattr(preparation, "PIECE", 3)
        paths = [clips["shop.mp4"], *broken[:3], clips["toys.mp4"], broken[3]]
        for reused in (False, True):
            report = prepare_dataset(table(paths), processor, tmp_path / "out", "train", num_proc)
            assert report.reused == reused and report.num_videos == 2
            assert list(report.bad_videos) == ["empty", "words", "sound", "missing"]
            assert all(str(path) in cause for path, cause in zip(broken, report.bad_videos.values(), strict=True))
        rows = load_from_disk(tmp_path / "out")["train"]
        assert rows["video_id"][:] == ["shop", "toys"] and rows["ocr_mask"][1] == [False, True, False, False]
        check_prepared(rows, processor)

    def test_are_tried_again_when_they_are_allowed_more(self, clips, processor, tmp_path):
        videos, allowed = table([clips["shop.mp4"]]), processor.max_pixels
        for max_pixels, num_bad, reused in ((10, 1, False), (10, 1, True), (allowed, 0, False), (10, 0, True)):
            processor.max_pixels = max_pixels
            report = preparation.prepare_dataset(videos, processor, tmp_path / "out", "train")
            assert (len(report.bad_videos), report.reused) == (num_bad, reused)

    @pytest.mark.parametrize("num_shards", [1, 2])
    def test_those_that_are_missing_count(self, clips, processor, tmp_path, num_shards):
        videos, missing = DatasetDict({"train": table(clips.values())}), {"train": ["gone", "lost"], "test": ["other"]}
        for shard in range(num_shards):
            options = {"shard": shard, "num_shards": num_shards, "missing": missing}
            report = preparation.prepare_splits(videos, processor, tmp_path, **options)["train"]
        report = preparation.join_shards(tmp_path)["train"] if num_shards > 1 else report
        assert report.missing == ["gone", "lost"] and report.share_left_out == 2 / 6

    @pytest.mark.workers
    def test_cost_no_other_its_row_however_bad(self, clips, tmp_path):
        """By default: a video that ends the process that reads it, and one that gives nothing more."""
        processor = make_tiny_processor(DeadlyReader(aborts_at=2, hangs_at=3))
        for reused in (False, True):
            report = preparation.prepare_dataset(
                table(clips.values()), processor, tmp_path / "out", "train", stall_seconds=20.0
            )
            assert list(report.bad_videos) == ["airport", "toys"] and report.reused == reused
        assert "the process that read it died (SIGABRT)" in report.bad_videos["airport"]
        assert "neither a frame nor a text" in report.bad_videos["toys"]
        assert load_from_disk(tmp_path / "out")["train"]["video_id"][:] == ["shop", "sea"]

    @pytest.mark.workers
    def test_pyav_reads_what_brings_decord_down(self, clips, processor, tmp_path, monkeypatch):
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "decord.py").write_text("import os\nos.abort()\n")
        monkeypatch.syspath_prepend(tmp_path / "modules")
        report = preparation.prepare_dataset(table([clips["shop.mp4"]]), processor, tmp_path / "out", "train")
        assert report.bad_videos == {} and report.num_videos == 1

    def test_nothing_is_left(self, broken, processor, tmp_path):
        report = prepare_dataset(table(broken), processor, tmp_path / "out", "train")
        assert report.num_videos == 0 and len(report.bad_videos) == 4
        with pytest.raises(ValueError, match="it has 0 rows"):
            check_prepared(load_from_disk(tmp_path / "out")["train"], processor)

    def test_an_engine_that_is_not_there_is_no_bad_video(self, clips, tmp_path, monkeypatch):
        from tcd_hf.processing.ocr_engines import OCREngineError

        def engine(images):
            raise OCREngineError("no weights")

        with pytest.raises(OCREngineError, match="no weights"):
            prepare_dataset(table(clips.values()), make_tiny_processor(engine), tmp_path, "train")


def raising(*errors):
    """An `open_video` that raises an error, and what caused it."""

    def open_video(path, **options):
        for cause, error in zip((None, *errors), errors, strict=False):
            error.__cause__ = cause
        raise errors[-1]

    return open_video


class TestErrorsThatMayPass:
    @pytest.mark.parametrize(
        "errors",
        [
            [OSError(errno.EIO, "Input/output error")],
            [OSError(errno.EMFILE, "Too many open files"), VideoReadError("clip.mp4", "it cannot be opened")],
            [OSError(errno.ESTALE, "Stale file handle"), ValueError(), RuntimeError()],
            [MemoryError()],
        ],
        ids=repr,
    )
    def test_end_the_run_which_then_goes_on(self, clips, processor, reads, tmp_path, monkeypatch, errors):
        monkeypatch.setattr(preparation, "PIECE", 2)
        works, paths = video_reader.open_video, list(clips.values())

        def open_video(path, **options):
            return (works if Path(path).name != paths[3].name else raising(*errors))(path, **options)

        monkeypatch.setattr(video_reader, "open_video", open_video)
        with pytest.raises(OSError, match=rf"{paths[3].name} failed for a cause that may pass .* again"):
            prepare_dataset(table(paths), processor, tmp_path / "out", "train")
        monkeypatch.setattr(video_reader, "open_video", works)
        del reads[:]
        report = prepare_dataset(table(paths), processor, tmp_path / "out", "train")
        assert report.num_videos == 4 and not report.bad_videos and not report.reused
        assert reads == [path.name for path in paths[2:]]

    @pytest.mark.parametrize("kind", [PermissionError, IsADirectoryError, OSError, "OSError", "MemoryError"], ids=str)
    def test_those_of_a_file_do_not(self, clips, processor, tmp_path, monkeypatch, kind):
        if isinstance(kind, str):  # FFmpeg's, of broken files
            kind = getattr(pytest.importorskip("av").error, kind)
        error = kind(errno.EIO if kind.__module__.startswith("av") else errno.EINVAL, "no way")
        wrapped = VideoReadError("clip.mp4", "it cannot be opened")
        for number, errors in enumerate([[error], [error, wrapped]]):
            monkeypatch.setattr(video_reader, "open_video", raising(*errors))
            report = prepare_dataset(table([clips["sea.mp4"]]), processor, tmp_path / str(number), "train")
            assert list(report.bad_videos) == ["sea"]


class TestFilesInUse:
    @pytest.fixture
    def removed(self, monkeypatch) -> list[str]:
        """Names of folders that were to be removed. None is: each holds a file that is in use."""
        names = []

        def rmtree(path, ignore_errors=False):
            assert not is_mapped(Path(path))
            names.append(Path(path).name)
            if not ignore_errors:
                raise PermissionError(errno.EACCES, "in use", str(path))

        monkeypatch.setattr(shutil, "rmtree", rmtree)
        return names

    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="nothing tells which files are in use")
    def test_are_let_go_before_they_are_deleted(self, clips, processor, tmp_path, removed):
        split = tmp_path / "out" / "train"
        report = prepare_dataset(table(clips.values()), processor, split.parent, "train")
        rows = load_from_disk(split)
        assert is_mapped(split) and not is_mapped(tmp_path / "other")
        assert report.num_videos == len(rows) == 4 and ".train.pieces" in removed
        assert list(load_from_disk(split.parent)) == ["train"]  # leftovers are no splits

    def test_a_split_that_cannot_be_replaced_stays_whole(self, clips, processor, tmp_path, monkeypatch):
        prepare_dataset(table(clips.values()), processor, tmp_path, "train")
        rename = Path.rename

        def refuse(self, target):
            if self.name == "train":
                raise PermissionError(errno.EACCES, "in use", str(self))
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", refuse)
        fewer = load_from_disk(tmp_path)["train"].select([1])
        with pytest.raises(PermissionError, match="in use"):
            save_split(fewer, tmp_path, "train")
        assert load_from_disk(tmp_path)["train"]["video_id"][:] == [Path(path).stem for path in clips.values()]
        monkeypatch.undo()
        save_split(fewer, tmp_path, "train")
        assert load_from_disk(tmp_path)["train"]["video_id"][:] == ["airport"]
        assert not list(tmp_path.glob(".train*"))


class TestShards:
    def test_joined_equal_the_whole(self, clips, processor, tmp_path):
        (tmp_path / "empty.mp4").touch()
        dataset = table([*clips.values(), tmp_path / "empty.mp4"])
        whole = prepare_dataset(dataset, processor, tmp_path / "whole", "train")
        with pytest.raises(ValueError, match="holds no shards"):
            join_shards(tmp_path / "out")
        for shard in (2, 1, 0):
            share = dataset.shard(3, shard, contiguous=True)
            prepare_dataset(share, processor, shard_folder(tmp_path / "out", shard, 3), "train")
            if shard:
                with pytest.raises(ValueError, match="00000-of-00003/train"):
                    join_shards(tmp_path / "out")
        joined = join_shards(tmp_path / "out")
        assert joined["train"].num_videos == whole.num_videos == 4
        assert joined["train"].bad_videos == whole.bad_videos and list(whole.bad_videos) == ["empty"]
        one, two = (load_from_disk(tmp_path / name)["train"] for name in ("whole", "out"))
        assert list(one.with_format("arrow")) == list(two.with_format("arrow"))
        assert one.info.description == two.info.description

    def test_of_different_kinds_are_refused(self, clips, processor, tmp_path):
        dataset = table(clips.values())
        for shard, made_by in enumerate((processor, make_tiny_processor(None))):
            share = dataset.shard(2, shard, contiguous=True)
            prepare_dataset(share, made_by, shard_folder(tmp_path, shard, 2), "train")
        with pytest.raises(ValueError, match="different processors"):
            join_shards(tmp_path)
        prepare_dataset(dataset.select([0]), processor, shard_folder(tmp_path, 0, 1), "train")
        with pytest.raises(ValueError, match="another number of shards"):
            join_shards(tmp_path)

    def test_an_empty_share_is_refused(self, clips, processor, tmp_path):
        with pytest.raises(ValueError, match="make fewer shards"):
            prepare_dataset(table(clips.values()).select([]), processor, tmp_path, "train")


class TestCheck:
    @pytest.fixture
    def rows(self, clips, processor, tmp_path) -> Dataset:
        prepare_dataset(table(clips.values()), processor, tmp_path / "out", "train")
        return load_from_disk(tmp_path / "out")["train"]

    def test_what_fits(self, rows, processor):
        check_prepared(rows, processor)
        check_prepared(rows.select([3, 1]), processor)
        description = json.loads(rows.info.description)
        assert description["num_frames"] == NUM_FRAMES and description["image_size"] == [16, 16]
        assert description["ocr_engine"] == "CodeReader"

    def test_another_number_of_frames(self, rows, processor):
        processor.num_frames = 12
        with pytest.raises(ValueError, match=r"prepared with 4 frames a video, but the model takes 12"):
            check_prepared(rows, processor)

    def test_another_size(self, rows, processor):
        processor.image_processor = CLIPImageProcessor(size={"shortest_edge": 24}, crop_size=24)
        with pytest.raises(ValueError, match=r"frames of 16 x 16 pixels, .* makes 24 x 24 pixels"):
            check_prepared(rows, processor)

    @pytest.mark.parametrize(
        ("image_processor", "what"),
        [
            (
                SiglipImageProcessor(size={"height": 16, "width": 16}),
                r"size=\{'shortest_edge': 16\} in place of \{'height': 16, 'width': 16\}, do_center_crop=True in place "
                r"of None, crop_size=\{'height': 16, 'width': 16\} in place of None\.",
            ),
            (CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16, resample=2), r": resample=3 in place of 2\."),
            (
                Siglip2ImageProcessor(patch_size=8, max_num_patches=4),
                r"patch_size=None in place of 8, max_num_patches=None in place of 4\.",
            ),
        ],
        ids=["SigLIP", "resample", "NaFlex"],
    )
    def test_another_way_to_the_same_size(self, rows, processor, image_processor, what):
        # put together with rows of other OCR options: both say how they were prepared
        other = rows.select([0])
        other.info.description = rows.info.description.replace('"min_confidence": 0.5', '"min_confidence": 0.7')
        mixed = concatenate_datasets([other, rows])
        assert mixed.info.description not in (other.info.description, rows.info.description)
        check_prepared(mixed, processor)
        processor.image_processor = image_processor
        for dataset in (rows, rows.select([2]), mixed):
            with pytest.raises(ValueError, match=what):
                check_prepared(dataset, processor)
        for description in ("", "Clips of films.\n\nMade by hand.", "[1]", '{"num_frames": 4}'):  # of another origin
            rows.info.description = description
            check_prepared(rows, processor)

    def test_what_may_differ(self, rows, processor):
        options = {"do_center_crop": True, "image_mean": [0.5] * 3, "do_rescale": False, "do_pad": False}
        processor.image_processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16, **options)
        processor.ocr_engine, processor.min_confidence, processor.window_scale = None, 0.9, 0.5
        check_prepared(rows, processor)

    def test_not_prepared(self, clips, processor):
        with pytest.raises(ValueError, match=r"lacks the columns .*'frames'"):
            check_prepared(table(clips.values()), processor)


class TestVideoFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        """`folder(line, ...)`: a folder whose test split has these lines and the videos 0.mp4 and sub/1.mp4."""
        root = tmp_path / "world" / "test"
        (root / "sub").mkdir(parents=True)
        for name in ("0.mp4", "sub/1.mp4", "../../outside.mp4"):
            write_clip(root / name, [coded_frame(1)] * 2)

        def make(*lines):
            text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
            (root / "metadata.jsonl").write_text(text, encoding="utf-8")
            return root.parent

        return make

    def test_rows(self, folder):
        made = folder(
            {"file_name": "0.mp4", "caption": "a", "kind": "text", "number": 7, "negatives": [{"number": 5}]},
            {"file_name": "sub/1.mp4", "caption": "b"},
            {"file_name": "0.mp4", "caption": "c", "kind": "both", "number": 7, "negatives": []},
        )
        dataset = load_video_folder(made)
        assert list(dataset) == ["test"]
        assert list(dataset["test"]) == [
            {
                "video_id": "test-0",
                "video": (made / "test" / "0.mp4").as_posix(),
                "captions": ["a", "c"],
                "query_types": ["text", "both"],
                "ocr": None,
                "group": "test-000005",
            },
            {
                "video_id": "test-sub/1",
                "video": (made / "test" / "sub" / "1.mp4").as_posix(),
                "captions": ["b"],
                "query_types": [None],
                "ocr": None,
                "group": None,
            },
        ]

    def test_videos_that_no_line_names_are_told(self, folder, caplog):
        line = {"file_name": "0.mp4", "caption": "a"}
        made = folder(line)
        assert len(load_video_folder(made)["test"]) == 1
        assert "Left out 1 videos in" in caplog.text and str(made / "test" / "sub" / "1.mp4") in caplog.text
        caplog.clear()
        load_video_folder(folder(line, {"file_name": "sub/1.mp4", "caption": "b"}))
        assert "Left out" not in caplog.text

    def test_moments(self, folder):
        made = folder(
            {"file_name": "0.mp4", "caption": "a", "moments": [[0, 1.5], [3, 4]]},
            {"file_name": "sub/1.mp4", "caption": "b"},
            {"file_name": "0.mp4", "caption": "c"},
        )
        rows = load_video_folder(made)["test"]
        assert rows["moments"][:] == [[[[0, 1.5], [3, 4]], []], [[]]]
        assert {name: kind for name, kind in rows.features.items() if name not in FOLDER_FEATURES} == MOMENTS

    @pytest.mark.parametrize("moments", [[3, 8], [[8, 3]], [[2, 2]], [[-1, 2]], [["1", "2"]], [[0, 1, 2]], [[0, None]]])
    def test_moments_that_are_none(self, folder, moments):
        line = {"file_name": "0.mp4", "caption": "a", "moments": moments}
        with pytest.raises(ValueError, match=r"metadata\.jsonl, line 1: a moment must be \[start, end\] in seconds"):
            load_video_folder(folder(line))
        with pytest.raises(ValueError, match=r"line 1: moments must be a list of .*, got None"):
            load_video_folder(folder({**line, "moments": None}))

    @pytest.mark.parametrize("name", ["../../outside.mp4", "sub/../../../outside.mp4", "/etc/passwd"])
    def test_paths_that_leave_the_folder(self, folder, name):
        made = folder({"file_name": "0.mp4", "caption": "a"}, {"file_name": name, "caption": "b"})
        with pytest.raises(ValueError, match=r"line 2: .* leads out of the folder"):
            load_video_folder(made)

    def test_links_are_followed(self, folder, tmp_path):
        made = folder({"file_name": "0.mp4", "caption": "a"}, {"file_name": "linked/far.mp4", "caption": "b"})
        (tmp_path / "elsewhere").mkdir()
        try:
            (made / "test" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        except OSError as error:
            pytest.skip(f"links cannot be made here: {error}")
        with pytest.raises(MissingFilesError, match=r"linked/far\.mp4$"):
            load_video_folder(made)
        (tmp_path / "elsewhere" / "far.mp4").symlink_to(tmp_path / "video.mp4")
        with pytest.raises(MissingFilesError, match=r"far\.mp4 \(a link to .*video\.mp4, which is not there\)"):
            load_video_folder(made)
        (tmp_path / "video.mp4").touch()
        assert load_video_folder(made)["test"]["video_id"][:] == ["test-0", "test-linked/far"]

    @pytest.mark.parametrize("line", ["no JSON", [], {"file_name": "0.mp4"}, {"file_name": 3, "caption": "a"}])
    def test_lines_in_another_form(self, folder, line):
        with pytest.raises(ValueError, match="line 1: not in the form"):
            load_video_folder(folder(line))

    def test_any_character_and_blank_lines(self, folder):
        captions = [f"a{separator}b" for separator in "\u2028\u2029\x85\v\f\x1c\r\n"]
        lines = [json.dumps({"file_name": "0.mp4", "caption": each}, ensure_ascii=False) for each in captions]
        (row,) = load_video_folder(folder("", *lines, " ", ""))["test"]
        assert row["captions"] == captions

    @pytest.mark.parametrize("caption", [None, "", " \n", 3, ["a"]])
    def test_captions_that_say_nothing(self, folder, caption):
        made = folder({"file_name": "0.mp4", "caption": "a"}, "", {"file_name": "0.mp4", "caption": caption})
        with pytest.raises(ValueError, match="line 3: a caption must be a text that is not blank, got "):
            load_video_folder(made)

    def test_missing_videos_are_listed(self, folder):
        lines = [{"file_name": f"{name}.mp4", "caption": "a"} for name in ("0", "gone", "lost")]
        with pytest.raises(MissingFilesError, match=r"2 videos \(test\): .*gone.mp4, .*lost.mp4"):
            load_video_folder(folder(*lines))

    def test_unknown_split(self, folder):
        with pytest.raises(ValueError, match=r"holds test .*asked for \['train'\]"):
            load_video_folder(folder({"file_name": "0.mp4", "caption": "a"}), ["train"])
