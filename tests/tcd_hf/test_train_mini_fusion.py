"""The third step of the package's checkpoint: examples by hand, unknown frames, the mean of weights, a small run."""

import json

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModel

pytest.importorskip("faker")
pytest.importorskip("english_words")
pytest.importorskip("font_lato")
pytest.importorskip("font_amatic_sc")

from tcd_hf.checkpoints import MINI
from tcd_hf.modeling.configuration_tcd import DEFAULTS_BEFORE

CONFIG = {
    "seed": 0,
    "threads": 1,
    "clips": {"train": 40, "validation": 20},
    "text_pairs": {"train": 16, "validation": 8},
    "unknown_videos": {"train": 4, "validation": 3},
    "steps": 3,
    "blocks": 2,
    "pairs": 8,
    "swapped": 0.5,
    "learning_rates": {"projections": 1e-3, "new": 1e-2},
    "weight_decay": 0.1,
    "share": 0.5,
    "validate_every": 2,
}


@pytest.fixture(scope="module")
def script():
    from scripts.train_mini import fusion

    return fusion


@pytest.fixture
def material(script):
    """Two clips and two text pairs of numbers that say what they are; two windows."""
    from scripts.frozen_towers.features import USUAL, Features

    world = Features(
        frames=torch.tensor([10.0, 20.0])[:, None, None].expand(2, 2, 1),
        queries=torch.tensor([[1.0], [2.0]]),
        texts=torch.tensor([[0.0], [100.0], [200.0]]),
        captions={USUAL: torch.tensor([[0, 1], [2, 0]])},
        tokens=torch.zeros(2, 1, dtype=torch.long),
    )
    others = {
        "empty": torch.tensor([[-1.0]]),
        "queries": torch.tensor([[3.0], [4.0]]),
        "captions": torch.tensor([[300.0], [400.0]]),
        "strays": torch.tensor([[500.0]]),
        "unknown": torch.tensor([30.0])[:, None, None].expand(1, 2, 1),
    }
    return script.Material(world, others)


class TestExamples:
    def test_clips(self, material):
        clips = material.clips(torch.tensor([1, 0]))
        assert clips.queries.tolist() == [[2], [1]] and clips.frames[:, :, 0].tolist() == [[20, 20], [10, 10]]
        assert clips.captions[:, :, 0].tolist() == [[200, 0], [0, 100]]
        assert clips.mask.tolist() == [[True, False], [False, True]]

    def test_text_pairs(self, script, material, monkeypatch):
        monkeypatch.setattr(script, "draw_windows", lambda rng, count, windows: np.array([[1, 0], [4, 1], [2, 3]]))
        pairs = material.text_pairs(torch.tensor([1, 0, 0]), torch.zeros(3, 2, 1), np.random.default_rng(0))
        assert pairs.queries.tolist() == [[4], [3], [3]]
        assert pairs.captions[:, :, 0].tolist() == [[400, -1], [500, 300], [500, 500]]
        assert pairs.mask.tolist() == [[True, False], [True, True], [True, True]]

    def test_windows(self, script):
        shown = script.draw_windows(np.random.default_rng(0), 400, 12)
        assert shown.shape == (400, 12) and set(np.unique(shown)) == {0, 1, 2, 3, 4}
        for row in shown:
            own = np.flatnonzero(row == 1)
            assert len(own) and own[-1] - own[0] + 1 == len(own)  # its caption shows, in a run
        assert (shown != 0).all(1).any() and ((shown > 0) <= (shown == 1)).all(1).any()  # full, and without strays

    def test_unknown_frames(self, material):
        frames = material.unknown_frames(400, np.random.default_rng(0))[:, 0, 0].numpy()
        noise, known = np.isclose(frames, 30), np.isin(frames, (10, 20))
        assert 0.4 < noise.mean() < 0.6 and 0.15 < known.mean() < 0.35
        between = frames[~noise & ~known]
        assert ((between > 10) & (between < 30)).all() and len(np.unique(between)) == len(between) > 50

    def test_batches(self, script, material, monkeypatch):
        """Whole groups of pairs; the frames of clips that are asked for text alone are exchanged, and of no others."""
        monkeypatch.setattr(script, "SIBLINGS", 2)
        monkeypatch.setattr(script, "batches", lambda *_: [torch.tensor([0, 1])] * 50)
        monkeypatch.setattr(material, "unknown_frames", lambda count, rng: torch.full((count, 2, 1), 7.0))
        material.asks_for_text = torch.tensor([True, False])
        seen = list(script.training_batches(material, {**CONFIG, "pairs": 2}, recipe=None))
        assert all(batch.queries.flatten().tolist() == [1, 2, 3, 4] for batch in seen)
        frames = np.array([batch.frames[:, 0, 0].tolist() for batch in seen])
        assert set(frames[:, 0]) == {7, 10} and set(frames[:, 1]) == {20} and (frames[:, 2:] == 7).all()


class TestUnknownFrames:
    def test_videos_repeat_and_wander(self):
        from scripts.train_mini.unknown_frames import noise_picture, photograph, wandering_video

        for picture in (noise_picture, photograph):
            videos = [wandering_video(np.random.default_rng(seed), picture, 12, 32) for seed in (0, 0, 1)]
            first, again, other = (np.stack(video) for video in videos)
            assert first.shape == (12, 32, 32, 3) and first.dtype == np.uint8
            difference = np.abs(first.astype(int) - again)  # of floats cut to whole numbers
            assert difference.max() <= 1 and difference.mean() < 0.01 and np.abs(first.astype(int) - other).mean() > 1
            assert (first[1:] != first[:-1]).any(axis=(1, 2, 3)).all() and first.std() > 5

    def test_dead_leaves_cover_and_spectra_fall(self):
        from scripts.train_mini.unknown_frames import PICTURE_SIZE, dead_leaves, noise_spectrum

        rng = np.random.default_rng(0)
        leaves = [dead_leaves(rng) for _ in range(5)]
        assert all(len(np.unique(each.reshape(-1, 3), axis=0)) <= 251 for each in leaves)  # a colour a leaf
        for _ in range(5):
            power = np.abs(np.fft.rfft2(noise_spectrum(rng).mean(-1))) ** 2
            assert power[1:4, 1:4].mean() > 10 * power[PICTURE_SIZE // 2 - 8 : PICTURE_SIZE // 2, -8:].mean()


def test_weighted_mean(script):
    start, trained = ({"w": torch.tensor(weights), "n": torch.tensor(3)} for weights in ([0.0, 2.0], [4.0, 2.0]))
    mean = script.weighted_mean(start, trained, 0.25)
    assert mean["w"].tolist() == [1, 2] and mean["n"].item() == 3


def test_small_run(script, tmp_path):
    config, made = tmp_path / "config.yaml", tmp_path / "made"
    config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    arguments = ["--config", str(config), "--model", str(MINI), "--cache", str(tmp_path / "cache")]
    assert script.main([*arguments, "--output", str(made)]) == 0
    before, after = (AutoModel.from_pretrained(each, dtype=torch.float32).state_dict() for each in (MINI, made))
    assert before.keys() == after.keys()
    for name in before:
        if name.startswith(("backbone.vision_model.", "backbone.text_model.", "backbone.text_projection.")):
            assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["backbone.visual_projection.weight"], after["backbone.visual_projection.weight"])
    assert after["co_attention.ocr_attention.out_proj.weight"].any()

    # Read by the release that runs, which writes its own name and its own defaults.
    config_before, config_after = (AutoConfig.from_pretrained(each).to_dict() for each in (MINI, made))
    for config_read in (config_before, config_after):
        del config_read["transformers_version"], config_read["_name_or_path"]  # whose file, and where
        for name in DEFAULTS_BEFORE[1]:  # one that is made now has the defaults of now
            del config_read[name]
        del config_read["search_calibration"]  # of other weights; it is fitted after this step
    assert config_before == config_after

    log = [json.loads(line) for line in (made / "training_log_fusion.jsonl").read_text().splitlines()]
    assert [entry["phase"] for entry in log] == ["start", "fusion", "fusion", "mean"]
    assert [entry["step"] for entry in log[1:3]] == [2, 3]
    for step in ("text", "image"):
        name = f"training_log_{step}.jsonl"
        assert (made / name).read_text() == (MINI / name).read_text()

    config.write_text(yaml.safe_dump({**CONFIG, "share": 0.0}), encoding="utf-8")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert script.main([*arguments, "--output", str(tmp_path / "start")]) == 0  # from what the towers said before
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    start = AutoModel.from_pretrained(tmp_path / "start", dtype=torch.float32).state_dict()
    assert not start["co_attention.ocr_attention.out_proj.weight"].any()
    assert torch.equal(start["backbone.visual_projection.weight"], before["backbone.visual_projection.weight"])
    assert script.made_of(MINI, {**CONFIG, "seed": 1}) != script.made_of(MINI, CONFIG)
