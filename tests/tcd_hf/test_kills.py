"""Kill -9 at ten moments of all that takes long and is not `add`: run again, it comes to what an unkilled run does."""

import json
import os
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from datasets import load_from_disk
from safetensors.numpy import load_file

from tcd_hf.data import preparation
from tcd_hf.data.preparation import join_shards, prepare_splits
from tcd_hf.data.video_folder import load_video_folder
from tcd_hf.index import ingest
from tcd_hf.index.schema import table_schema
from tcd_hf.index.video_index import VideoIndex
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.processing.processing_tcd import TCDProcessor
from tcd_hf.training import __main__ as training
from tests.clips import coded_frame, write_clip
from tests.tcd_hf.conftest import CodeReader, make_tiny_model, make_tiny_processor, open_storage
from tests.tcd_hf.killing import moments, run_job
from tests.tcd_hf.training_data import make_world, save_start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes can be forked"),
]

KILLS = 10
TEXTS = {1: ["TESCO express"], 2: ["Gate B4"], 4: ["STAR WARS"], 8: ["platform nine"]}
NUM_VIDEOS = 16


def killed_copies(job, folder: Path):
    """A copy of the folder in which the job has ended, with no moment, and then copies in which it was killed."""
    whole = shutil.copytree(folder, folder.with_name("whole"))
    run, killed = run_job(job, whole), 0
    assert not run.killed
    yield whole, None
    for moment in moments(run, KILLS):
        copy = folder.with_name("killed")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        killed += run_job(job, copy, **moment).killed
        yield copy, moment
    assert killed >= KILLS // 3  # where the machine is fast for once, some end before they are killed


def files_of(folder: Path) -> set[str]:
    """Names below a folder: nothing is left behind, and nothing is missing."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.startswith("cache-")}


# an index -------------------------------------------------------------------------------------------------------------
def open_index(folder: Path) -> VideoIndex:
    options = {"exist_ok": True, "cache_dir": folder.parent / "cache"}
    return VideoIndex.create(folder / "index", make_tiny_model(), make_tiny_processor(CodeReader(TEXTS)), **options)


def compact(folder: Path):
    index = open_index(folder)
    yield
    index.compact()


def remove(folder: Path):
    index = open_index(folder)
    yield
    index.remove(sorted((folder.parent / "videos").iterdir())[::3])


def refresh(folder: Path):
    """Some files are gone, one is another, one was renamed and some are new."""
    index = open_index(folder)
    ingest.ROWS_PER_COMMIT = 2  # so that there are several commits to be killed between
    yield
    index.refresh(folder.parent / "changed", workers=0)


@pytest.fixture
def indexed(tmp_path) -> Path:
    """The folder of an index, made in many small commits."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(NUM_VIDEOS):
        write_clip(videos / f"{number:02d}.mp4", [coded_frame(number)] * 6, fps=5)
    folder = tmp_path / "before"
    index = open_index(folder)
    for path in sorted(videos.iterdir()):
        index.add(path, workers=0)
    changed = shutil.copytree(videos, tmp_path / "changed")
    for number in (1, 2, 5):
        (changed / f"{number:02d}.mp4").unlink()
    (changed / "07.mp4").rename(changed / "moved.mp4")
    for number in (3, 20, 21):
        write_clip(changed / f"{number:02d}.mp4", [coded_frame(number + 100)] * 6, fps=5)
    return folder


def rows_of(folder: Path) -> dict[str, dict]:
    index = open_index(folder)
    names = [name for name in table_schema(index.metadata).names if name not in ("modified", "checksum")]
    rows = index.read(names).to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def assert_same_rows(ours: dict[str, dict], theirs: dict[str, dict]) -> None:
    assert ours.keys() == theirs.keys()
    for name, row in ours.items():
        for column, value in row.items():
            if column in ("coarse", "features"):
                np.testing.assert_allclose(value, theirs[name][column], atol=1e-3)
            else:
                assert value == theirs[name][column], (name, column)


def statistics_of(folder: Path):
    storage = open_storage(open_index(folder))
    assert storage.has_statistics()
    return storage.load_statistics().to_table().sort_by("term").to_pylist()


@pytest.mark.parametrize("job", [compact, remove, refresh])
def test_of_an_index(indexed, job):
    before = rows_of(indexed)
    whole, after = None, {}
    for folder, moment in killed_copies(job, indexed):
        if moment is None:
            whole, after = folder, rows_of(folder)
            continue
        left = rows_of(folder)  # each video is there as it was or as it is to be
        assert before.keys() & after.keys() <= left.keys() <= before.keys() | after.keys(), moment
        assert open_index(folder).search("platform nine", top_k=1)[0].evidence == ["platform nine"], moment
        run_job(job, folder)
        assert_same_rows(rows_of(folder), after)
        assert statistics_of(folder) == statistics_of(whole)


# training -------------------------------------------------------------------------------------------------------------
def train(folder: Path):
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(1)
    paths = ["--model", folder.parent / "start", "--data", folder.parent / "data", "--output", folder / "run"]
    options = ["--batch_size", 4, "--epochs", 3, "--save_every", 2, "--learning_rate", 1e-3, "--resume"]
    yield
    assert training.main(list(map(str, [*paths, *options]))) == 0


def log_of(folder: Path) -> list[dict]:
    lines = (folder / "run" / "training_log.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if "seconds" not in name} for line in lines]


def test_of_training(tmp_path):
    make_world().save_to_disk(tmp_path / "data")
    save_start(tmp_path / "start")
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, moment in killed_copies(train, empty):
        if moment is None:
            whole, weights, log = folder, weights_of(folder), log_of(folder)
            continue
        best, checkpoint = folder / "run" / "best", folder / "run" / "checkpoint.safetensors"
        if best.exists():
            TCDModel.from_pretrained(best), TCDProcessor.from_pretrained(best)
        if checkpoint.exists():  # and the next one is half written
            half = checkpoint.read_bytes()[: checkpoint.stat().st_size // 2]
            unfinished = checkpoint.with_name(f".{checkpoint.name}.part")
            unfinished.mkdir(exist_ok=True)
            (unfinished / ".tmp").write_bytes(half)
        run_job(train, folder)
        assert files_of(folder) == files_of(whole), moment
        found = weights_of(folder)
        assert found.keys() == weights.keys()
        for name, weight in weights.items():
            np.testing.assert_allclose(found[name], weight, atol=1e-4, err_msg=f"{name} {moment}")
        assert [line["step"] for line in log_of(folder)] == [line["step"] for line in log], moment
        for ours, theirs in zip(log_of(folder), log, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-3), moment


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    """Of the last state and of the best one."""
    files = {name: folder / "run" / name for name in ("checkpoint.safetensors", "best/model.safetensors")}
    return {f"{name}: {key}": value for name, file in files.items() for key, value in load_file(file).items()}


# preparation ----------------------------------------------------------------------------------------------------------
def prepare(folder: Path):
    processor = make_tiny_processor(CodeReader(TEXTS))
    splits = load_video_folder(folder.parent / "videos")
    preparation.PIECE = 2
    datasets.disable_progress_bars()
    yield
    for shard in range(2):
        prepare_splits(splits, processor, folder / "out", 0, folder / "cache", shard=shard, num_shards=2)
    join_shards(folder / "out")


def test_of_preparation(tmp_path):
    for split, count in (("train", 7), ("validation", 4)):
        videos = tmp_path / "videos" / split
        videos.mkdir(parents=True)
        names = [f"{split}{number}.mp4" for number in range(count)]
        lines = [json.dumps({"file_name": name, "caption": f"a clip {name}"}) for name in [*names, "broken.mp4"]]
        (videos / "metadata.jsonl").write_text("\n".join(lines))
        for number, name in enumerate(names):
            write_clip(videos / name, [coded_frame(1 << number % 4)] * 6, fps=5)
        (videos / "broken.mp4").write_bytes(b"\0\xff" * 50)
    empty = tmp_path / "empty"
    empty.mkdir()
    whole = tmp_path / "whole"
    for folder, moment in killed_copies(prepare, empty):
        if moment is not None:
            run_job(prepare, folder)
            assert files_of(folder / "out") == files_of(whole / "out"), moment
        expected, found = (load_from_disk(str(each / "out")) for each in (whole, folder))
        assert list(found) == ["train", "validation"] and [len(found[split]) for split in found] == [7, 4]
        for split, rows in expected.items():
            assert list(found[split].with_format("arrow")) == list(rows.with_format("arrow")), moment
            reports = [(each / "out" / split / "preparation.json").read_text() for each in (whole, folder)]
            assert reports[0] == reports[1] and list(json.loads(reports[0])["bad_videos"]) == [f"{split}-broken"]
