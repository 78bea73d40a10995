"""Which weights learn how fast, and when."""

import dataclasses
import math

import pytest
import torch

from tcd_hf.training.gradient_caching import seed_step
from tcd_hf.training.optimisation import make_optimizer, make_scheduler, parameter_groups
from tcd_hf.training.recipe import TrainingRecipe
from tests.tcd_hf.conftest import make_tiny_model

RECIPE = TrainingRecipe("m", "d", "o", backbone_learning_rate=1e-6, learning_rate=1e-5, weight_decay=0.2)


def test_groups_hold_every_weight_once():
    model = make_tiny_model(share_ocr_encoder=False)
    groups = parameter_groups(model, RECIPE)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (1e-6, 0.2),
        (1e-6, 0.0),
        (1e-5, 0.2),
        (1e-5, 0.0),
    ]
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    weights = dict(model.named_parameters())
    assert all(
        weights[name] is weight
        for group in groups
        for name, weight in zip(group["names"], group["params"], strict=True)
    )


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("backbone.text_model.encoder.layers.0.mlp.fc1.weight", 0),
        ("backbone.text_model.embeddings.token_embedding.weight", 0),
        ("ocr_backbone.text_projection.weight", 0),
        ("backbone.logit_scale", 1),
        ("backbone.text_model.encoder.layers.0.mlp.fc1.bias", 1),
        ("backbone.text_model.final_layer_norm.weight", 1),
        ("backbone.text_model.embeddings.position_embedding.weight", 1),
        ("backbone.vision_model.embeddings.class_embedding", 1),
        ("co_attention.video_attention.q_proj.weight", 2),
        ("coarse_projection.weight", 2),
        ("co_attention.position_embedding", 3),
        ("temporal_encoder.position_embedding", 3),
        ("distillation.video_clue", 3),
        ("distillation.ocr_type_embedding", 3),
        ("temporal_encoder.layers.0.mlp_norm.weight", 3),
    ],
)
def test_group_of(name, group):
    model = make_tiny_model(share_ocr_encoder=False)
    assert name in parameter_groups(model, RECIPE)[group]["names"]


def test_betas():
    assert make_optimizer(make_tiny_model(), RECIPE).defaults["betas"] == (0.9, 0.999)
    recipe = dataclasses.replace(RECIPE, betas=[0.9, 0.98])
    assert make_optimizer(make_tiny_model(), recipe).param_groups[0]["betas"] == (0.9, 0.98)


def test_towers_without_a_learning_rate_are_frozen():
    model = make_tiny_model(share_ocr_encoder=False)
    recipe = TrainingRecipe("m", "d", "o", backbone_learning_rate=0.0, learning_rate=1e-5)
    groups = make_optimizer(model, recipe).param_groups
    assert {group["lr"] for group in groups} == {1e-5}
    for name, weight in model.named_parameters():
        assert weight.requires_grad == (not name.startswith(("backbone.", "ocr_backbone."))), name


def test_frozen_weights_are_left_out():
    model = make_tiny_model()
    model.backbone.requires_grad_(False)
    groups = parameter_groups(model, RECIPE)
    assert [group["lr"] for group in groups] == [1e-5, 1e-5]


def test_schedule_by_hand_and_from_the_middle():
    def rates(step):
        optimizer = make_optimizer(make_tiny_model(), RECIPE)
        scheduler = make_scheduler(optimizer, 0.2, 10, step)
        found = []
        for _ in range(step, 10):
            found.append(scheduler.get_last_lr()[-1])
            optimizer.step()
            scheduler.step()
        return found

    cosine = [(1 + math.cos(math.pi * each / 9)) / 2 for each in range(9)]
    assert rates(0) == pytest.approx([0.5e-5, 1e-5, *(1e-5 * each for each in cosine[1:])])
    for step in (1, 4, 9):
        assert rates(step) == pytest.approx(rates(0)[step:], rel=1e-12)


def test_random_numbers_of_a_step_are_its_own():
    def draw(*where):
        seed_step(*where)
        return tuple(torch.rand(3).tolist())

    places = [(0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 0)]
    drawn = [draw(*place) for place in places]
    assert len(set(drawn)) == len(places) and drawn == [draw(*place) for place in places]
