"""The second step of the package's checkpoint: its labels by hand, its start, and a run in small."""

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModel, AutoProcessor, BertConfig, BertModel, ConvNextConfig, ConvNextModel

pytest.importorskip("faker")
pytest.importorskip("english_words")
pytest.importorskip("font_lato")
pytest.importorskip("font_amatic_sc")

from tcd_hf import load
from tcd_hf.checkpoints import MINI
from tcd_hf.data.synthetic import make_clip
from tcd_hf.data.synthetic_scene import COLORS, SHAPES, Lettering, Scene, Thing
from tcd_hf.modeling.joined_towers import join_towers
from tests.tokenizers import letter_tokenizer

CONFIG = {
    "seed": 0,
    "threads": 1,
    "vision": {"hidden_sizes": [4, 4, 8], "depths": [1, 1, 1], "num_stages": 3, "image_size": 128},
    "scale": 20.0,
    "frames": {"steps": 2, "batch_size": 2, "learning_rate": 1e-3, "weight_decay": 0.05, "log_every": 1},
}


@pytest.fixture(scope="module")
def script():
    from scripts.train_mini import image

    return image


@pytest.fixture(scope="module")
def text_tower(tmp_path_factory) -> Path:
    """A text tower as the first step leaves it, small."""
    folder, tokenizer = tmp_path_factory.mktemp("text"), letter_tokenizer(64)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=64)  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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


def test_a_run_in_small(script, text_tower, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    arguments = ["--config", str(config), "--text", str(text_tower), "--output", str(tmp_path / "made")]
    assert script.main(arguments) == 0
    before, made = (AutoModel.from_pretrained(each, dtype=torch.float32) for each in (text_tower, tmp_path / "made"))
    kept = made.backbone.text_model.state_dict()
    for name, weight in kept.items():
        torch.testing.assert_close(weight, before.state_dict()[name], atol=1e-3, rtol=1e-3)
    processor = AutoProcessor.from_pretrained(tmp_path / "made")
    clip = make_clip(0, "test", 12)
    inputs = processor(text=[clip.query], videos=[clip.frames(12, 128)], ocr_captions=[clip.captions()])
    with torch.inference_mode():
        output = made(**inputs)
    assert output.logits_per_text.shape == (1, 1) and output.logits_per_text.isfinite().all()
    assert made.backbone.logit_scale.item() == pytest.approx(math.log(100), abs=0.01)
    log = (tmp_path / "made" / "training_log_image.jsonl").read_text(encoding="utf-8")
    assert log.count('"frames"') == 2


def test_a_start_says_of_things_what_they_are_called_now(script):
    """An image that was nearest to the words for a thing is nearest to what it is called in the new space."""
    saved, processor = load(MINI, dtype=torch.float32)
    vision = saved.backbone.config.vision_config
    torch.manual_seed(0)
    model = join_towers(
        BertModel(BertConfig(vocab_size=9, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)),
        ConvNextModel(ConvNextConfig(**vision.to_dict())),
        "mean",
        projection_dim=120,
    )
    colors, shapes = torch.randn(len(COLORS), 1, 120), torch.randn(1, len(SHAPES), 120)
    called = torch.nn.functional.normalize((colors + shapes).flatten(0, 1), dim=-1)
    script.start_from(model, MINI, called)
    with torch.no_grad():
        classes = script.prototypes(saved.backbone, processor.tokenizer)
        inverse = torch.linalg.pinv(saved.backbone.visual_projection.weight)
        pooled = classes @ inverse.T  # what the tower would have to say
        said = pooled @ model.visual_projection.weight.T
        nearest = (torch.nn.functional.normalize(said, dim=-1) @ called.T).argmax(1)
        pixels = torch.rand(2, 3, 128, 128)
        pictures = [each.vision_model(pixels).pooler_output for each in (saved.backbone, model)]
    assert (nearest == torch.arange(len(called))).float().mean() > 0.9
    torch.testing.assert_close(*pictures)


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
