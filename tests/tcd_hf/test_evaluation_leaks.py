"""
Scores that depend on the text can leak which answer is right: by the place of a pair, or by what else is in the batch.
Neither the order of the gallery nor its size, nor any batch, may change a rank.
"""

import numpy as np
import pytest
import torch

from tcd_hf.evaluation.metrics import compute_retrieval_metrics, retrieval_ranks
from tcd_hf.evaluation.two_stage import pair_scorer, two_stage_ranks
from tests.conftest import bound_blocks, clip_inputs

NUM_TEXTS, NUM_VIDEOS = 9, 6
TEXT_TO_VIDEO = np.array([2, 0, 5, 1, 3, 2, 0, 5, 5])  # video 4 is a distractor
TEXT_INPUTS = ("input_ids", "attention_mask")
MODELS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"text_condition": "before"},
        {"use_distillation": False, "use_cross_attention": True},
        {"use_ocr": False},
        {"interaction": "tib"},
        {"interaction": "tib", "use_patch_features": True},
    ],
    ids=str,
)


def all_inputs() -> dict[str, torch.Tensor]:
    return clip_inputs(NUM_TEXTS, NUM_VIDEOS)


def take(inputs, texts, videos) -> dict[str, torch.Tensor]:
    """Inputs of these texts and videos only."""
    return {name: value[texts if name in TEXT_INPUTS else videos] for name, value in inputs.items()}


@torch.no_grad()
def similarity_of(model, inputs) -> np.ndarray:
    return model(**inputs).logits_per_text.numpy()


def in_batches(model, inputs, texts_at_once, videos_at_once) -> np.ndarray:
    """The matrix put together from batches that were encoded and scored apart."""
    texts, videos = torch.arange(NUM_TEXTS).split(texts_at_once), torch.arange(NUM_VIDEOS).split(videos_at_once)
    return np.block([[similarity_of(model, take(inputs, rows, columns)) for columns in videos] for rows in texts])


def shuffle(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An order of texts, an order of videos, and `text_to_video` in that order."""
    rng = np.random.default_rng(seed)
    texts, videos = rng.permutation(NUM_TEXTS), rng.permutation(NUM_VIDEOS)
    return texts, videos, np.argsort(videos)[TEXT_TO_VIDEO[texts]]


def assert_same_ranks(ranks, expected):
    for direction in expected:
        np.testing.assert_array_equal(ranks[direction], expected[direction], err_msg=direction)
        assert len(set(expected[direction])) > 1  # or equal ranks would say nothing


@MODELS
def test_a_shuffled_gallery_gives_the_same_ranks(make_model, options):
    model, inputs = make_model(randomise=True, **options), all_inputs()
    expected = retrieval_ranks(similarity_of(model, inputs), TEXT_TO_VIDEO)
    for seed in range(3):
        texts, videos, text_to_video = shuffle(seed)
        ranks = retrieval_ranks(similarity_of(model, take(inputs, texts, videos)), text_to_video)
        assert_same_ranks(ranks, {"t2v": expected["t2v"][texts], "v2t": expected["v2t"][videos]})


@MODELS
def test_any_batch_gives_the_same_ranks(make_model, options):
    model, inputs = make_model(randomise=True, **options), all_inputs()
    expected = similarity_of(model, inputs)
    for sizes in ((1, 1), (2, 4), (NUM_TEXTS, 1), (1, NUM_VIDEOS)):
        similarity = in_batches(model, inputs, *sizes)
        np.testing.assert_allclose(similarity, expected, atol=1e-4)
        assert_same_ranks(retrieval_ranks(similarity, TEXT_TO_VIDEO), retrieval_ranks(expected, TEXT_TO_VIDEO))


@MODELS
def test_any_block_of_scoring_gives_the_same_ranks(make_model, monkeypatch, options):
    model, inputs = make_model(randomise=True, **options), all_inputs()
    expected = retrieval_ranks(similarity_of(model, inputs), TEXT_TO_VIDEO)
    for elements in (1, 200, 2000):
        bound_blocks(monkeypatch, elements)
        assert_same_ranks(retrieval_ranks(similarity_of(model, inputs), TEXT_TO_VIDEO), expected)


@MODELS
def test_a_query_ranks_the_gallery_the_same_alone(make_model, options):
    model, inputs = make_model(randomise=True, **options), all_inputs()
    expected = retrieval_ranks(similarity_of(model, inputs), TEXT_TO_VIDEO)["t2v"]
    for text, video in enumerate(TEXT_TO_VIDEO):
        alone = similarity_of(model, take(inputs, [text], slice(None)))
        assert compute_retrieval_metrics(alone, np.array([video]))["t2v_MnR"] == expected[text]


@MODELS
def test_two_stages_give_the_same_ranks_in_any_order(make_model, options):
    model, inputs = make_model(randomise=True, **options), all_inputs()

    @torch.no_grad()
    def ranks_of(inputs, text_to_video):
        output = model(**inputs)
        texts, features = output.text_embeds, output.video_features
        coarse = (model.get_coarse_queries(texts) @ features.coarse_embeds.T).numpy()
        return two_stage_ranks(coarse, text_to_video, pair_scorer(model, texts, features), top_k=3)

    expected = ranks_of(inputs, TEXT_TO_VIDEO)
    for seed in range(3):
        texts, videos, text_to_video = shuffle(seed)
        in_order = {name: each[texts if name == "t2v" else videos] for name, each in expected.items()}
        assert_same_ranks(ranks_of(take(inputs, texts, videos), text_to_video), in_order)


def test_the_checks_find_a_score_that_knows_the_place_of_a_pair(random_model):
    inputs = all_inputs()

    def leaky(inputs):
        similarity = similarity_of(random_model, inputs)
        return similarity + 100 * np.eye(*similarity.shape)

    expected = retrieval_ranks(leaky(inputs), TEXT_TO_VIDEO)["t2v"]
    texts, videos, text_to_video = shuffle(0)
    shuffled = retrieval_ranks(leaky(take(inputs, texts, videos)), text_to_video)["t2v"]
    assert not np.array_equal(shuffled, expected[texts])
