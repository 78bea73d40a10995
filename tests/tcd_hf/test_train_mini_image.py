"""The second step of the package's checkpoint: its labels by hand, its words, and a run in small."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModel, AutoProcessor, CLIPTextConfig

pytest.importorskip("faker")
pytest.importorskip("english_words")
pytest.importorskip("font_lato")
pytest.importorskip("font_amatic_sc")

from tcd_hf.checkpoints import MINI
from tcd_hf.data.synthetic import make_clip
from tcd_hf.data.synthetic_scene import COLORS, SHAPES, Lettering, Scene, Thing

CONFIG = {
    "seed": 0,
    "threads": 1,
    "vision": {"hidden_sizes": [4, 4, 8], "depths": [1, 1, 1], "num_stages": 3, "image_size": 128},
    "scale": 20.0,
    "words": {"steps": 2, "batch_size": 4, "learning_rate": 2e-3, "scale": 20.0, "log_every": 1},
    "frames": {"steps": 2, "batch_size": 2, "learning_rate": 1e-3, "weight_decay": 0.05, "log_every": 1},
}


@pytest.fixture(scope="module")
def script():
    from scripts.train_mini import image

    return image


def thing(color: str, shape: str, start: float, end: float, center: tuple[float, float]) -> Thing:
    return Thing(color, shape, "medium", "still", start, end, center)  # 0.19 of the frame's side across


def test_labels_by_hand(script):
    back = thing("red", "star", 0.0, 6.0, (0.25, 0.25))  # covers 0.155 to 0.345
    front = thing("blue", "ring", 0.0, 6.0, (0.25, 0.25))
    late = thing("green", "moon", 3.0, 6.0, (0.75, 0.75))
    scene = Scene(make_clip(0, "train", 0).scene.background, (back, front, late), ())
    classes, shown = script.labels_of(scene, time=1.0, grid=4)  # centres at 0.125, 0.375, 0.625, 0.875
    red, blue = (
        list(COLORS).index(c) * len(SHAPES) + list(SHAPES).index(s) for c, s in (("red", "star"), ("blue", "ring"))
    )
    grid = classes.reshape(4, 4)
    assert (grid[:2, :2] == script.IGNORED).all()  # 0.125 and 0.375 are 0.03 beyond its edge
    assert (np.delete(grid.ravel(), [0, 1, 4, 5]) == script.NOTHING).all()
    assert shown[red] == shown[blue] == 0.5 and shown.sum() == 1
    classes, shown = script.labels_of(
        scene, time=1.0, grid=10
    )  # the centre at 0.25 is inside, those at 0.15 and 0.35 not
    assert classes.reshape(10, 10)[2, 2] == blue and (classes == blue).sum() == 1 and red not in classes
    assert script.labels_of(scene, time=4.0, grid=4)[1].max() == pytest.approx(1 / 3)


def test_labels_of_an_empty_scene_with_a_text(script):
    text = Lettering("HELLO", 0.0, 6.0, 0, 0.2, (0, 0, 0), origin=(0.5, 0.5), target=(0.5, 0.5))
    scene = Scene(make_clip(0, "train", 0).scene.background, (), (text,))
    classes, shown = script.labels_of(scene, time=1.0, grid=8)
    x0, y0, x1, y1 = text.box(1.0)
    covered = [x0 < (column + 0.5) / 8 < x1 and y0 < (row + 0.5) / 8 < y1 for row in range(8) for column in range(8)]
    assert any(covered) and not all(covered)
    assert (classes == np.where(covered, script.IGNORED, script.NOTHING)).all()
    assert shown[script.NOTHING] == shown.sum() == 1


def test_queries_name_what_the_clip_shows(script):
    rng = random.Random(0)
    for _ in range(40):
        query, named = script.some_query(rng)
        assert named and all(color in query.lower() for color, _ in named)


def test_frames_repeat_and_hold_busy_and_empty_scenes(script):
    first, second = (script.frames_with_labels(random.Random(3), 32, 8) for _ in range(2))
    frames = [next(first) for _ in range(240)]
    for frame in frames[:24]:
        assert all(np.array_equal(a, b) for a, b in zip(frame, next(second), strict=True))
    counts = [int((shown > 0).sum()) for _, _, shown in frames]
    empty = [shown[script.NOTHING] == 1 for _, _, shown in frames]
    assert max(counts) >= 4 and any(empty) and not all(empty)
    scenes = [script.busy_scene(random.Random(seed)) for seed in range(40)]
    assert any(not scene.things for scene in scenes)
    assert all(text.carrier is None for scene in scenes if not scene.things for text in scene.letterings)


def test_a_run_in_small(script, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    assert script.main(["--config", str(config), "--model", str(MINI), "--output", str(tmp_path / "made")]) == 0
    before, made = (AutoModel.from_pretrained(each, dtype=torch.float32) for each in (MINI, tmp_path / "made"))
    assert isinstance(made.config.backbone_config.text_config, CLIPTextConfig)
    texts, old = made.backbone.text_model.state_dict(), before.backbone.text_model.state_dict()
    changed = {name for name in texts if not torch.allclose(texts[name], old[name], atol=1e-3)}
    assert changed == {"embeddings.token_embedding.weight"}
    processor = AutoProcessor.from_pretrained(tmp_path / "made")
    clip = make_clip(0, "test", 12)
    inputs = processor(text=[clip.query], videos=[clip.frames(12, 128)], ocr_captions=[clip.captions()])
    with torch.inference_mode():
        output = made(**inputs)
    assert output.logits_per_text.shape == (1, 1) and output.logits_per_text.isfinite().all()
    log = (tmp_path / "made" / "training_log_image.jsonl").read_text(encoding="utf-8")
    assert log.count('"words"') == 2 and log.count('"frames"') == 2


def test_patch_labels_move_with_the_thing(script):
    """Labels at a finer grid agree with where the painter puts the thing."""
    moving = replace(thing("white", "square", 0.0, 6.0, (0.5, 0.5)), motion="right")
    scene = Scene(make_clip(0, "train", 0).scene.background, (moving,), ())
    for time in (0.5, 3.0, 5.5):
        classes, _ = script.labels_of(scene, time, grid=40)
        rows, columns = np.nonzero(classes.reshape(40, 40) < script.NOTHING)
        labelled = classes.reshape(40, 40)[rows, columns] != script.IGNORED
        x, y, _ = moving.pose(time)
        assert (columns[labelled].mean() + 0.5) / 40 == pytest.approx(x, abs=0.02)
        assert (rows[labelled].mean() + 0.5) / 40 == pytest.approx(y, abs=0.02)


def test_tokens_that_spell_no_class_are_put_back(script):
    model, tokenizer = (
        AutoModel.from_pretrained(MINI, dtype=torch.float32),
        AutoProcessor.from_pretrained(MINI).tokenizer,
    )
    embeddings = model.backbone.text_model.embeddings.token_embedding.weight
    before = embeddings.detach().clone()
    with torch.no_grad():
        embeddings += 1
    script.put_back(model.backbone, tokenizer, before)
    kept = tokenizer(["red star", "purple plus sign"])["input_ids"]
    for token in {token for ids in kept for token in ids}:
        assert torch.equal(embeddings[token], before[token] + 1)
    assert 10 < (embeddings != before).any(dim=1).sum() < 100
