"""`tcd-hf prepare` and `tcd-hf synthesize --prepared`: from videos, and without them, to the same data."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from datasets import load_from_disk

from tcd_hf.evaluation.evaluate_model import evaluate_model
from tests.tcd_hf.conftest import NUM_FRAMES, invoke, make_tiny_model, make_tiny_processor


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TCD_HF_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """Folder of a tiny model, which reads no text."""
    folder = tmp_path_factory.mktemp("model")
    make_tiny_model().save_pretrained(folder)
    make_tiny_processor().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def folder(clips) -> Path:
    """A videofolder of four videos in the split `train`, of which one cannot be read."""
    split = clips["shop.mp4"].parent
    clips["toys.mp4"].write_bytes(b"")
    lines = [json.dumps({"file_name": name, "caption": f"about {name}"}) + "\n" for name in sorted(clips)]
    (split / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    return split.rename(split.with_name("train")).parent


def flat(text: str) -> str:
    """Without the box that usage errors are printed in."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


class TestPrepare:
    def test_videofolder(self, folder, model, tmp_path):
        arguments = ["--videofolder", str(folder), "--model", model, "--out", str(tmp_path / "out")]
        done = invoke("prepare", *arguments)
        assert done.exit_code == 0, done.stderr
        output = done.stdout
        assert "train: 3 videos prepared, 1 left out" in output
        assert "\n  train-toys  Cannot read the video" in output and "toys.mp4" in output
        rows = load_from_disk(tmp_path / "out")["train"]
        assert rows["video_id"][:] == ["train-airport", "train-sea", "train-shop"]
        assert rows["captions"][0] == ["about airport.mp4"] and len(rows[0]["frames"]) == NUM_FRAMES
        output = invoke("prepare", *arguments).stdout
        assert "train: 3 videos found prepared, 1 left out" in output and "train-toys  Cannot" in output
        assert invoke("prepare", *arguments, "--num-frames", "2", "--frame-sets", "1").exit_code == 0
        (row, *_) = load_from_disk(tmp_path / "out")["train"]
        assert len(row["frames"]) == len(row["frames_1"]) == 2 and "frames_2" not in row

    def test_shards(self, folder, model, tmp_path):
        arguments = ["--videofolder", str(folder), "--model", model, "--out"]
        assert invoke("prepare", *arguments, str(tmp_path / "whole")).exit_code == 0
        for shard in "01":
            sharded = [*arguments, str(tmp_path / "out"), "--shard", shard, "--num-shards", "2", "--num-proc", "2"]
            assert invoke("prepare", *sharded).exit_code == 0
        assert not (tmp_path / "out" / "train").exists()
        joined = invoke("prepare", "--join", "--out", tmp_path / "out")
        assert joined.exit_code == 0 and "train: 3 videos prepared, 1 left out" in joined.stdout
        whole, joined = (load_from_disk(tmp_path / name)["train"].with_format("arrow") for name in ("whole", "out"))
        assert list(whole) == list(joined)

    def test_published_data_set(self, clips, model, tmp_path):
        lines = ["key,vid_key,video_id,sentence", "ret0,msr0,shop,a shop", "ret1,msr1,gone,nothing"]
        (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("\n".join(lines) + "\n")
        arguments = ["--dataset", "msrvtt-1ka", "--annotations", str(tmp_path), "--videos", str(tmp_path)]
        arguments += ["--splits", "test", "--model", model, "--out", str(tmp_path / "out"), "--no-ocr"]
        refused = invoke("prepare", *arguments)
        assert refused.exit_code == 1 and "1 videos (test): gone" in refused.stderr
        done = invoke("prepare", *arguments, "--skip-missing")
        assert done.exit_code == 0 and "test: 1 videos prepared, 1 left out (1 missing)\n" in done.stdout
        assert "\n  gone  it is not there\n" in done.stdout
        refused = invoke("prepare", *arguments, "--skip-missing", "--max-left-out", "0.4")
        assert refused.exit_code == 1 and "50% of the videos of a split were left out, more than" in refused.stderr
        assert "found prepared, 1 left out (1 missing)" in refused.stdout
        assert load_from_disk(tmp_path / "out")["test"]["captions"][:] == [["a shop"]]

    def test_a_video_of_two_splits_has_a_line_for_each(self, model, tmp_path):
        (tmp_path / "Sports").mkdir()
        (tmp_path / "Sports" / "a.mp4").write_bytes(b"")
        video = {"path": "Sports/a.mp4", "captions_info": [{"caption": "A ball."}], "videos_info": {}}
        for split in ("train", "test"):
            (tmp_path / f"TextVR_{split}.json").write_text(json.dumps([video]))
        arguments = ["--dataset", "textvr", "--annotations", tmp_path, "--videos", tmp_path, "--model", model]
        done = invoke("prepare", *arguments, "--out", tmp_path / "out", "--no-ocr")
        assert done.stdout.count("\n  Sports/a  Cannot read the video") == 2, done.stdout + done.stderr

    def test_more_left_out_than_is_allowed(self, folder, model, tmp_path):
        words = ["prepare", "--videofolder", folder, "--model", model, "--out", tmp_path / "out", "--max-left-out"]
        refused = invoke(*words, "0.2")
        assert refused.exit_code == 1 and "25% of the videos of a split were left out, more than" in refused.stderr
        assert invoke(*words, "0.25").exit_code == 0

    def test_nothing_prepared(self, folder, model, tmp_path):
        for path in (folder / "train").glob("*.mp4"):
            path.write_bytes(b"")
        done = invoke("prepare", "--videofolder", folder, "--model", model, "--out", tmp_path / "out")
        assert done.exit_code == 1 and "train: 0 videos prepared, 4 left out" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--dataset", "msvd"], "needs --annotations and --videos"),
            (["--videofolder", "v", "--ocr", "o", "--skip-missing"], "--ocr, --skip-missing: only with --dataset"),
            (["--videofolder", "v", "--num-proc", "-1"], "--num-proc"),
            (["--videofolder", "v", "--shard", "2", "--num-shards", "2"], "--shard must be from 0 to 1"),
            (["--join", "--videofolder", "v"], "give one of --dataset, --videofolder, --join; got --videofolder and"),
            ([], "got none"),
        ],
    )
    def test_refusals(self, arguments, message, tmp_path):
        refused = invoke("prepare", *arguments, "--out", tmp_path)
        assert refused.exit_code and message in flat(refused.stderr)


class TestMakeSynthetic:
    @pytest.fixture(autouse=True)
    def needs_extras(self):
        for name in ("faker", "english_words", "font_lato", "font_caladea", "font_fredoka_one", "font_amatic_sc"):
            pytest.importorskip(name)

    def test_prepared_as_from_files(self, model, tmp_path):
        """As the videos give it, but for how they are compressed, resized, and read."""
        many = ["--clips", "6", "--splits", "validation", "test"]
        fast, world, slow = (tmp_path / name for name in ("fast", "world", "slow"))
        assert invoke("synthesize", "--out", str(fast), *many, "--prepared", "--model", model).exit_code == 0
        assert invoke("synthesize", "--out", str(world), *many, "--size", "64").exit_code == 0
        assert invoke("prepare", "--videofolder", str(world), "--model", model, "--out", str(slow)).exit_code == 0
        fast, slow = load_from_disk(fast), load_from_disk(slow)
        assert sorted(fast) == sorted(slow) == ["test", "validation"]
        for split in fast:
            assert fast[split].features == slow[split].features
            assert fast[split].info.description == slow[split].info.description
            painted, decoded = (
                [np.array(list(map(np.asarray, row["frames"]))) for row in one[split]] for one in (fast, slow)
            )
            errors = np.abs(np.array(painted)[:, None].astype(int) - np.array(decoded)[None]).mean(axis=(2, 3, 4, 5))
            assert errors.diagonal().max() < 12 and len(errors) == 6
            others = ["frames", "ocr_captions", "ocr_mask"]
            assert list(fast[split].remove_columns(others)) == list(slow[split].remove_columns(others))
        assert fast["test"]["group"][:] == ["test-000000"] * 4 + ["test-000004"] * 2

    def test_long_videos(self, model, tmp_path):
        """Their times come along on both ways, and moments can be measured."""
        from tcd_hf.data.synthetic_videos import make_video

        many = ["--clips", "8", "--clips-per-video", "4"]
        fast, world, slow = (tmp_path / name for name in ("fast", "world", "slow"))
        assert invoke("synthesize", "--out", str(fast), *many, "--prepared", "--model", model).exit_code == 0
        assert invoke("synthesize", "--out", str(world), *many, "--size", "64").exit_code == 0
        assert invoke("prepare", "--videofolder", str(world), "--model", model, "--out", str(slow)).exit_code == 0
        fast, slow = (load_from_disk(folder)["test"] for folder in (fast, slow))
        assert fast.features == slow.features
        others = ["frames", "ocr_captions", "ocr_mask"]
        assert list(fast.remove_columns(others)) == list(slow.remove_columns(others))
        videos = [make_video(0, "test", number, 4) for number in range(2)]
        assert fast["captions"][:] == [video.captions for video in videos]
        assert fast["query_types"][:] == [["text"] * 4, ["visual"] * 4]
        assert fast["duration"][:] == [24, 24] and fast["video_id"][:] == ["test-000000", "test-000001"]
        assert fast["moments"][:] == [[[list(*times)] for times in video.moments] for video in videos]
        assert fast["window_starts"][0] == [0, 6, 12, 18]
        moments = evaluate_model(make_tiny_model(), make_tiny_processor(), fast, progress=False).moments
        assert {name: metrics["queries"] for name, metrics in moments.items()} == {
            "all queries": 8,
            "text": 4,
            "visual": 4,
        }
        assert moments["visual"]["R@5@0.7"] == 1  # windows that are as long as clips: one of four is right

    def test_row(self, model, tmp_path):
        from tcd_hf.data.prepared_data import check_prepared
        from tcd_hf.data.synthetic import make_clip

        invoke("synthesize", "--out", str(tmp_path), "--clips", "20", "--prepared", "--model", model, "--seed", "5")
        rows = load_from_disk(tmp_path)["test"]
        check_prepared(rows, make_tiny_processor())
        clip = make_clip(5, "test", 13)
        row = rows[13]
        assert row["video_id"] == "test-000013" and row["group"] == "test-000012" and row["duration"] == 6
        assert row["captions"] == [clip.query] and row["query_types"] == ["temporal"]
        assert row["ocr_captions"] == clip.captions(NUM_FRAMES) and any(row["ocr_captions"])
        assert row["window_starts"] == [0, 1.5, 3, 4.5] and row["window_ends"] == [1.5, 3, 4.5, 6]
        error = np.abs(np.array(list(map(np.asarray, row["frames"]))).astype(int) - clip.frames(NUM_FRAMES, 16))
        assert error.max() <= 40 and error.mean() < 3

    @pytest.mark.slow
    def test_workers_make_the_same(self, model, tmp_path):
        arguments = ["--clips", "24", "--prepared", "--model", model]
        invoke("synthesize", "--out", str(tmp_path / "1"), *arguments)
        command = [
            sys.executable,
            "-c",
            "from tcd_hf.cli.main import app; app()",
            "synthesize",
            "--out",
            str(tmp_path / "2"),
            *arguments,
        ]
        subprocess.run([*command, "--workers", "2"], check=True)
        one, two = (load_from_disk(tmp_path / workers)["test"].with_format("arrow") for workers in "12")
        assert list(one) == list(two) and len(one) == 24

    def test_splits_are_added(self, model, tmp_path):
        for split, clips in (("train", "2"), ("test", "3"), ("train", "4")):
            arguments = ["--out", str(tmp_path), "--splits", split, "--clips", clips, "--prepared", "--model", model]
            assert invoke("synthesize", *arguments).exit_code == 0
        assert {split: len(rows) for split, rows in load_from_disk(tmp_path).items()} == {"train": 4, "test": 3}

    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="nothing tells which files are in use")
    def test_files_are_let_go_before_they_are_deleted(self, model, tmp_path, monkeypatch):
        names = []

        class Folder(tempfile.TemporaryDirectory):
            def cleanup(self):
                assert self.name not in Path("/proc/self/maps").read_text()
                names.append(self.name)
                super().cleanup()

        monkeypatch.setattr(tempfile, "TemporaryDirectory", Folder)
        arguments = ["--out", str(tmp_path), "--splits", "train", "test", "--clips", "2", "--prepared"]
        assert invoke("synthesize", *arguments, "--model", model).exit_code == 0
        assert len([name for name in names if Path(name).parent == tmp_path]) == 2

    def test_text_pairs(self, model, tmp_path):
        from tcd_hf.data.text_pairs import TextPairGenerator

        made = {}
        for run in "12":
            arguments = ["--splits", "train", "--clips", "2", "--text-pairs", "8", "--prepared", "--model", model]
            assert invoke("synthesize", "--out", str(tmp_path / run), *arguments).exit_code == 0
            made[run] = load_from_disk(tmp_path / run)["train"]
        rows, pairs = made["1"].select(range(2, 10)), TextPairGenerator(0).take(8)
        assert rows["captions"][:] == [[pair.query] for pair in pairs]
        assert len(set(rows["group"][:])) == 2 and not set(rows["group"][:]) & set(made["1"]["group"][:2])
        for row, pair in zip(rows, pairs, strict=True):
            still = np.array(list(map(np.asarray, row["frames"]))).astype(int)
            assert np.abs(still[0] - still[1]).mean() < 20  # a background that moves slowly, and nothing on it
            windows = [window for window, text in enumerate(row["ocr_captions"]) if text == pair.caption]
            assert windows == list(range(windows[0], windows[-1] + 1))  # one run
            assert sum(bool(text) for text in row["ocr_captions"]) - len(windows) <= (1 if pair.caption else 0)
        one, two = (made[run].with_format("arrow") for run in "12")
        assert list(one) == list(two)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--prepared", "--size", "64"], "--size is for videos"),
            (["--model", "m"], "are for --prepared"),
            (["--text-pairs", "4"], "are for --prepared"),
            (["--prepared", "--text-pairs", "4", "--splits", "test"], "--text-pairs must be 0 or more"),
            (["--size", "33"], "--size must be an even number of pixels"),
            (["--workers", "0"], "--workers"),
            (["--clips-per-video", "0"], "--clips-per-video"),
            (["--clips", "10", "--clips-per-video", "4"], "--clips must be a multiple of --clips-per-video, 4, got 10"),
            (
                ["--prepared", "--text-pairs", "4", "--splits", "train", "--clips-per-video", "2"],
                "--text-pairs have no times",
            ),
        ],
    )
    def test_refusals(self, arguments, message, tmp_path):
        refused = invoke("synthesize", "--out", tmp_path, *arguments)
        assert refused.exit_code and message in flat(refused.stderr)
