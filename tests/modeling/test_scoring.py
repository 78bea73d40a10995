"""Scores against a slow oracle written from tcd sections 2 and 4-6, one vector at a time, in float64."""

import itertools
import math

import numpy as np
import pytest
import torch

from tcd_hf.modeling import scoring
from tcd_hf.modeling.factorized_scoring import FactorizedScorer
from tcd_hf.modeling.outputs import TCDScores, TCDScoringTables, TCDVideoFeatures
from tcd_hf.modeling.reference_scoring import ReferenceScorer
from tests.conftest import NUM_FRAMES, assert_computed_alike, bound_blocks, clip_inputs, norms_like, randomise_fusion

DIM = 16
PARTS = ("similarity", "text_video", "text_ocr", "text_hybrid")
# Every combination of switches that changes how a score is made, as options of a TCDConfig.
COMBINATIONS = [
    {"text_condition": order, "use_co_attention": co_attention, "fusion_num_heads": heads, **clue}
    for order, co_attention, heads, clue in itertools.product(
        ("after", "before"),
        (True, False),
        (1, 2, 4),
        (
            {"use_distillation": True},
            {"use_distillation": False, "use_cross_attention": True},
            {"use_distillation": False, "use_cross_attention": False},
        ),
    )
]
COMBINATIONS += [{"use_ocr": False}, {"share_ocr_encoder": False}, {"text_condition_temperature": 0.5}]


def name_of(options: dict) -> str:
    return "-".join(f"{name}={value}" for name, value in options.items())


class Oracle:
    """The method as tcd.md writes it: lists of vectors and loops over them."""

    def __init__(self, model):
        self.config = model.config
        self.weights = {name: tensor.detach().double().numpy() for name, tensor in model.state_dict().items()}
        self.scale = math.exp(model.logit_scale.item())

    def scores(self, text, frames, windows, has_text) -> dict[str, float]:
        """Scores of one text `(dim,)` and one video, `frames` and `windows` `(N, dim)`, `has_text` `(N,)`."""
        frame_gates = self.gates(text, frames, [True] * len(frames))
        if not self.config.use_ocr:
            score = cosine(text, mean([w * v for w, v in zip(frame_gates, frames, strict=True)]))
            return {"similarity": score, "text_video": score}

        visible = list(has_text) if any(has_text) else [True] * len(windows)
        window_gates = self.gates(text, windows, visible)
        if self.config.text_condition == "after":
            y, x = self.co_attention(frames, windows, visible)
            gated_frames = [w * each for w, each in zip(frame_gates, y, strict=True)]
            gated_windows = [u * each for u, each in zip(window_gates, x, strict=True)]
        else:
            gated_frames = [w * each for w, each in zip(frame_gates, frames, strict=True)]
            gated_windows = [u * each for u, each in zip(window_gates, windows, strict=True)]
            gated_frames, gated_windows = self.co_attention(gated_frames, gated_windows, visible)

        video = mean(gated_frames)
        ocr = mean([window for window, seen in zip(gated_windows, visible, strict=True) if seen])
        hybrid = self.clue(gated_frames, gated_windows, visible)
        parts = [cosine(text, each) for each in (video, ocr, hybrid)]
        return dict(zip(PARTS, [sum(parts) / 3, *parts], strict=True))

    def gates(self, text, moments, visible):
        factor = self.scale / self.config.text_condition_temperature
        shares = softmax([factor * cosine(text, moment) for moment in moments], visible)
        return [sum(visible) * share for share in shares]

    def co_attention(self, frames, windows, visible):
        if not self.config.use_co_attention:
            return frames, windows
        position = self.weights["co_attention.position_embedding"]
        placed_frames = [v + p for v, p in zip(frames, position, strict=True)]
        placed_windows = [o + p for o, p in zip(windows, position, strict=True)]
        always = [True] * len(frames)
        from_ocr = self.attend("co_attention.video_attention", placed_frames, placed_windows, windows, visible)
        from_video = self.attend("co_attention.ocr_attention", placed_windows, placed_frames, frames, always)
        y = [v + answer for v, answer in zip(frames, from_ocr, strict=True)]
        x = [o + answer for o, answer in zip(windows, from_video, strict=True)]
        return y, x

    def clue(self, frames, windows, visible):
        always = [True] * len(frames)
        if self.config.use_distillation:
            of = self.weights
            typed_frames = [v + p for v, p in zip(frames, of["distillation.video_type_embedding"], strict=True)]
            typed_windows = [o + p for o, p in zip(windows, of["distillation.ocr_type_embedding"], strict=True)]
            video_clue = of["distillation.video_clue"][0] + of["distillation.clue_type_embedding"][0]
            ocr_clue = of["distillation.ocr_clue"][0] + of["distillation.clue_type_embedding"][0]
            # As the paper has it: the clue and all moments ask, then the first row is kept.
            video_questions, ocr_questions = [video_clue, *typed_frames], [ocr_clue, *typed_windows]
            video = self.attend("distillation.video_attention", video_questions, typed_windows, typed_windows, visible)
            ocr = self.attend("distillation.ocr_attention", ocr_questions, typed_frames, typed_frames, always)
            return (video[0] + ocr[0]) / 2
        seen = [i for i, each in enumerate(visible) if each]
        if self.config.use_cross_attention:
            from_windows = self.attend("distillation.video_attention", frames, windows, windows, visible)
            from_frames = self.attend("distillation.ocr_attention", windows, frames, frames, always)
            return (mean(from_windows) + mean([from_frames[i] for i in seen])) / 2
        return (mean(frames) + mean([windows[i] for i in seen])) / 2

    def attend(self, name, queries, keys, values, visible):
        def project(which, vectors):
            weight, bias = self.weights[f"{name}.{which}.weight"], self.weights[f"{name}.{which}.bias"]
            return [weight @ vector + bias for vector in vectors]

        queries, keys, values = project("q_proj", queries), project("k_proj", keys), project("v_proj", values)
        width = DIM // self.config.fusion_num_heads
        answers = []
        for query in queries:
            answer = np.zeros(DIM)
            for start in range(0, DIM, width):
                head = slice(start, start + width)
                shares = softmax([query[head] @ key[head] / math.sqrt(width) for key in keys], visible)
                answer[head] = sum(share * value[head] for share, value in zip(shares, values, strict=True))
            answers.append(answer)
        return project("out_proj", answers)


def mean(vectors):
    return sum(vectors) / len(vectors)


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def softmax(logits, visible):
    exponentials = [math.exp(logit) if seen else 0.0 for logit, seen in zip(logits, visible, strict=True)]
    return [each / sum(exponentials) for each in exponentials]


def random_units(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, DIM, generator=generator), dim=-1)


# Text everywhere, in some windows, in one, nowhere, and in some again.
MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 0]]).bool()
TEXTS, FRAMES, WINDOWS = (
    random_units(3, seed=1),
    random_units(5, NUM_FRAMES, seed=2),
    random_units(5, NUM_FRAMES, seed=3),
)
NORMS = norms_like(FRAMES)


def features_of(model, videos=slice(None)):
    with torch.no_grad():
        return model.fuse(FRAMES[videos], WINDOWS[videos], MASK[videos], frame_norms=NORMS[videos])


def in_dtype(features, dtype):
    return features.map_videos(lambda rows: rows.to(dtype) if rows.is_floating_point() else rows)


def score(model, texts, features, method="reference") -> TCDScores:
    with torch.no_grad():
        return model.score(texts, features, method=method)


@pytest.mark.parametrize("method", ["reference", "factorized"])
@pytest.mark.parametrize("options", COMBINATIONS, ids=name_of)
def test_equals_the_oracle(make_model, options, method):
    if method == "factorized" and options.get("text_condition") == "before":
        pytest.skip("exact fast scoring needs the gate after the co-attention")
    model = make_model(randomise=True, **options)
    scores = score(model, TEXTS, features_of(model), method)
    oracle = Oracle(model)
    texts, frames, windows = (each.double().numpy() for each in (TEXTS, FRAMES, WINDOWS))
    expected = {}
    for i, j in itertools.product(range(3), range(5)):
        for part, value in oracle.scores(texts[i], frames[j], windows[j], MASK[j].tolist()).items():
            expected.setdefault(part, torch.zeros(3, 5))[i, j] = value
    assert scores.keys() == expected.keys()
    for part, table in expected.items():
        torch.testing.assert_close(
            scores[part], table, atol=2e-6, rtol=1e-5, msg=lambda text, part=part: f"{part}: {text}"
        )


@pytest.mark.parametrize("options", [{}, {"share_ocr_encoder": False}], ids=name_of)
def test_forward_equals_the_oracle_on_the_encoders_own_embeddings(make_model, options):
    model = make_model(randomise=True, **options)
    inputs = clip_inputs(num_texts=2, num_videos=3)
    assert (model.ocr_encoder is model.backbone) == model.config.share_ocr_encoder
    with torch.no_grad():
        output = model(**inputs)

        def embed(encoder, ids, mask):
            return encoder.get_text_features(input_ids=ids[None], attention_mask=mask[None]).pooler_output[0]

        texts = [
            embed(model.backbone, *each) for each in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        ]
        for j in range(3):
            frames = model.backbone.get_image_features(pixel_values=inputs["pixel_values_videos"][j]).pooler_output
            captions = zip(inputs["ocr_input_ids"][j], inputs["ocr_attention_mask"][j], strict=True)
            windows = [embed(model.ocr_encoder, *each) for each in captions]
            frames, windows = (
                [(each / each.norm()).double().numpy() for each in vectors] for vectors in (frames, windows)
            )
            for i, text in enumerate(texts):
                text = (text / text.norm()).double().numpy()
                expected = Oracle(model).scores(text, frames, windows, inputs["ocr_mask"][j].tolist())
                found = {part: getattr(output, f"{part}_similarity")[i, j].item() for part in PARTS[1:]}
                found["similarity"] = (output.logits_per_text[i, j] / model.logit_scale.exp()).item()
                assert found == pytest.approx(expected, abs=5e-6)


def test_a_neutral_model_by_hand(make_model):
    # Two frames (1, 0, ..), (0, 1, ..), text (1, 0, ..), gate logits log 3 and 0: gates 2 * 3/4 and 2 * 1/4, gated mean
    # (3/4, 1/4). Windows both (0, 1, ..): gated mean (0, 1). Hybrid: their mean, (3/8, 5/8).
    model = make_model(num_frames=2)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(5 * math.log(3)))  # s / temperature = log 3
    unit = torch.eye(DIM)
    mask = torch.ones(1, 2, dtype=torch.bool)
    features = model.fuse(unit[None, :2], unit[None, [1, 1]], mask, frame_norms=torch.ones(1, 2))
    scores = score(model, unit[:1], features)
    video, hybrid = 3 / math.hypot(3, 1), 3 / math.hypot(3, 5)
    assert scores.text_video.item() == pytest.approx(video, abs=1e-6)
    assert scores.text_ocr.item() == pytest.approx(0.0, abs=1e-6)
    assert scores.text_hybrid.item() == pytest.approx(hybrid, abs=1e-6)
    assert scores.similarity.item() == pytest.approx((video + 0 + hybrid) / 3, abs=1e-6)


BLOCKWISE = [
    ({}, "reference"),
    ({"text_condition": "before"}, "reference"),
    ({"use_distillation": False}, "reference"),
    ({"use_ocr": False}, "reference"),
    ({"fusion_num_heads": 2}, "factorized"),
    ({"use_ocr": False}, "factorized"),
]


@pytest.mark.parametrize(
    ("options", "method"), BLOCKWISE, ids=lambda each: name_of(each) if isinstance(each, dict) else each
)
@pytest.mark.parametrize("block_elements", [1, 130, 450])
def test_blocks_of_pairs_give_the_scores_of_all_pairs(make_model, monkeypatch, options, method, block_elements):
    model = make_model(randomise=True, **options)
    features = features_of(model)
    at_once = score(model, TEXTS, features, method)
    bound_blocks(monkeypatch, block_elements)
    for each in (features, model.precompute(features)) if method == "factorized" else (features,):
        in_blocks = score(model, TEXTS, each, method)
        assert in_blocks.keys() == at_once.keys()
        for part in at_once:
            torch.testing.assert_close(in_blocks[part], at_once[part], atol=1e-6, rtol=0)


def test_no_block_is_larger_than_allowed(random_model, monkeypatch):
    sizes = []
    plain = ReferenceScorer.__call__

    def watched(scorer, texts, videos):
        sizes.append(len(scorer.text[texts]) * videos.frame_embeds.numel())
        return plain(scorer, texts, videos)

    allowed = 6 * NUM_FRAMES * DIM
    bound_blocks(monkeypatch, allowed)
    monkeypatch.setattr(ReferenceScorer, "__call__", watched)
    score(random_model, TEXTS, features_of(random_model))
    assert len(sizes) > 1
    assert max(sizes) <= allowed
    assert sum(sizes) == 3 * 5 * NUM_FRAMES * DIM  # every pair once


@pytest.mark.parametrize("options", [{}, {"text_condition": "before", "fusion_num_heads": 2}], ids=name_of)
def test_a_score_depends_on_its_own_text_and_video_only(make_model, options):
    model = make_model(randomise=True, **options)
    together = score(model, TEXTS, features_of(model))
    order = [3, 0, 4, 2, 1]
    shuffled = score(model, TEXTS.flip(0), features_of(model, order))
    for part in PARTS:
        torch.testing.assert_close(shuffled[part], together[part].flip(0)[:, order], atol=1e-6, rtol=0)
        for i, j in itertools.product(range(3), range(5)):
            alone = score(model, TEXTS[i : i + 1], features_of(model, slice(j, j + 1)))
            torch.testing.assert_close(alone[part][0, 0], together[part][i, j], atol=1e-6, rtol=0)


def test_features_of_a_video_depend_on_that_video_only(random_model):
    inputs = clip_inputs(num_videos=4)
    inputs = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
    with torch.no_grad():
        together = random_model.get_video_features(**inputs)
        for i in range(4):
            alone = random_model.get_video_features(**{name: value[i : i + 1] for name, value in inputs.items()})
            for name in ("frame_embeds", "ocr_embeds", "fused_frame_embeds", "fused_ocr_embeds", "coarse_embeds"):
                torch.testing.assert_close(alone[name][0], together[name][i], atol=2e-6, rtol=0, msg=f"{name} of {i}")


def test_windows_without_text_do_not_count(random_model):
    altered = WINDOWS.clone()
    altered[1, 1] = random_units(seed=9)  # the one window of video 1 that shows no text
    with torch.no_grad():
        before = random_model.score(TEXTS, random_model.fuse(FRAMES, WINDOWS, MASK, frame_norms=NORMS))
        after = random_model.score(TEXTS, random_model.fuse(FRAMES, altered, MASK, frame_norms=NORMS))
    for part in PARTS:
        torch.testing.assert_close(after[part], before[part], atol=1e-6, rtol=0)


def test_a_video_without_text_is_scored_over_all_its_windows(random_model):
    with torch.no_grad():
        masks = torch.zeros_like(MASK), torch.ones_like(MASK)
        features = [random_model.fuse(FRAMES, WINDOWS, mask, frame_norms=NORMS) for mask in masks]
        without, all_visible = (random_model.score(TEXTS, each) for each in features)
    for part in PARTS:
        torch.testing.assert_close(without[part], all_visible[part])


def test_scores_are_cosines(random_model):
    scores = score(random_model, TEXTS, features_of(random_model))
    for part in PARTS:
        assert scores[part].dtype == torch.float32
        assert scores[part].shape == (3, 5)
        assert scores[part].abs().max() <= 1 + 1e-6
    torch.testing.assert_close(scores.similarity, (scores.text_video + scores.text_ocr + scores.text_hybrid) / 3)


@pytest.mark.parametrize("options", [each for each in COMBINATIONS if "before" not in each.values()], ids=name_of)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_kept_in_half_precision(make_model, options, dtype):
    model = make_model(randomise=True, **options)
    features = features_of(model)
    exact, halved = score(model, TEXTS, features), in_dtype(features, dtype)
    with torch.no_grad():
        precomputed = in_dtype(model.precompute(halved), dtype)
    assert precomputed.scoring_tables.frame_gram.dtype == dtype
    expected = score(model, TEXTS, halved)
    for part in expected:
        assert expected[part].dtype == torch.float32
        rounding = 2e-3 if dtype == torch.float16 else 1e-2
        torch.testing.assert_close(expected[part], exact[part], atol=rounding, rtol=0)
        for kept, tolerance in ((halved, 1e-5), (precomputed, 2e-3)):
            scores = score(model, TEXTS, kept, "factorized")
            torch.testing.assert_close(scores[part], expected[part], atol=tolerance, rtol=0)


def test_the_order_of_gate_and_co_attention_matters_once_trained(make_model):
    after = score(model := make_model(randomise=True), TEXTS, features_of(model))
    before = score(model := make_model(randomise=True, text_condition="before"), TEXTS, features_of(model))
    assert (after.similarity - before.similarity).abs().max() > 1e-3


def test_splitting_features_keeps_every_video_once(random_model):
    features = features_of(random_model)
    pieces = features.split(2)
    assert [len(piece.frame_embeds) for piece in pieces] == [2, 2, 1]
    for name in ("frame_embeds", "ocr_mask", "coarse_embeds"):
        assert torch.equal(torch.cat([piece[name] for piece in pieces]), features[name])


@pytest.mark.parametrize(("num_texts", "num_videos"), [(0, 5), (3, 0), (0, 0)])
@pytest.mark.parametrize("method", ["reference", "factorized"])
def test_nothing_to_score(tiny_model, method, num_texts, num_videos):
    features = features_of(tiny_model).map_videos(lambda rows: rows[:num_videos])
    with pytest.raises(ValueError, match=f"Nothing to score: {num_texts} texts against {num_videos} videos"):
        tiny_model.score(TEXTS[:num_texts], features, method=method)


@pytest.mark.parametrize("method", ["fast", "Reference"])
def test_unknown_method(tiny_model, method):
    with pytest.raises(ValueError, match=rf'`method` must be "reference" or "factorized", got \'{method}\''):
        tiny_model.score(TEXTS, features_of(tiny_model), method=method)


def test_factorized_is_the_default_where_it_is_exact(make_model):
    def default(model):
        return type(scoring.make_scorer(model, TEXTS, features_of(model)))

    after, before = make_model(randomise=True), make_model(randomise=True, text_condition="before")
    assert default(after) is FactorizedScorer
    assert default(before) is ReferenceScorer
    assert default(after.train()) is ReferenceScorer
    assert default(make_model(randomise=True, fusion_dropout=0.0).train()) is FactorizedScorer
    for model in (before, after):
        with pytest.raises(ValueError, match="Factorised scoring needs"):
            model.score(TEXTS, features_of(model), method="factorized")


def test_precomputed_tables_give_the_same_scores(random_model):
    features = features_of(random_model)
    with torch.no_grad():
        precomputed = random_model.precompute(features)
    expected = score(random_model, TEXTS, features, "factorized")
    for texts in (TEXTS, TEXTS[:1]):
        scores = score(random_model, texts, precomputed, "factorized")
        for part in PARTS:
            torch.testing.assert_close(scores[part], expected[part][: len(texts)], atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{}, {"use_distillation": False}], ids=name_of)
def test_precompute_keeps_no_tables_of_other_weights(make_model, options):
    model = make_model(randomise=True, **options)
    features = features_of(model)
    with torch.no_grad():
        stale = model.precompute(features)
        randomise_fusion(model, seed=1)
        found, expected = (model.precompute(each).scoring_tables for each in (stale, features))
    assert (stale.scoring_tables.clue_gram - expected.clue_gram).abs().max() > 1e-3
    assert found.keys() == expected.keys()
    for name, table in expected.items():
        assert_computed_alike(found[name], table, msg=name)


@pytest.mark.parametrize("options", [{}, {"use_distillation": False}, {"use_ocr": False}], ids=name_of)
def test_both_methods_give_the_same_gradients(make_model, monkeypatch, options):
    bound_blocks(monkeypatch, 130)  # several blocks, computed again in the backward pass
    gradients = {}
    for method in ("reference", "factorized"):
        model, texts = make_model(randomise=True, **options), TEXTS.clone().requires_grad_()
        features = model.fuse(FRAMES, WINDOWS, MASK, frame_norms=NORMS)
        model.score(texts, features, method=method).similarity.square().sum().backward()
        weights = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        gradients[method] = {"text": texts.grad, **weights}
    assert options.get("use_ocr") is False or any("out_proj" in name for name in gradients["factorized"])
    for name, gradient in gradients["factorized"].items():
        torch.testing.assert_close(gradient, gradients["reference"][name], atol=1e-5, rtol=1e-4, msg=name)


class TestScorePairs:
    # Unequal numbers of texts and videos; a video twice, none at all, and none but -1.
    CANDIDATES = torch.tensor([[4, 0, 0, -1], [-1, 2, 3, 1], [-1, -1, -1, -1]])

    @pytest.mark.parametrize("options", [*COMBINATIONS, {"interaction": "tib"}], ids=name_of)
    @pytest.mark.parametrize("block_elements", [1, 2**22])
    def test_equals_the_scores_of_all_pairs_at_those_places(self, make_model, monkeypatch, options, block_elements):
        model = make_model(randomise=True, **options)
        features = features_of(model)
        all_pairs = score(model, TEXTS, features, None)
        bound_blocks(monkeypatch, block_elements)
        with torch.no_grad():
            pairs = model.score_pairs(TEXTS, features, self.CANDIDATES)
        assert pairs.keys() == all_pairs.keys()
        for part in all_pairs:
            expected = all_pairs[part].gather(1, self.CANDIDATES.clamp(min=0))
            expected[self.CANDIDATES < 0] = -torch.inf
            torch.testing.assert_close(pairs[part], expected, atol=1e-6, rtol=0)

    def test_uses_tables_computed_before(self, random_model):
        # With four times the dot products of a video's own vectors these are twice as long, and cosines half as large.
        features = random_model.precompute(features_of(random_model))
        expected = random_model.score_pairs(TEXTS, features, self.CANDIDATES).text_video / 2
        tables = {name: 4 * table for name, table in features.scoring_tables.items()}
        features = TCDVideoFeatures(**{**features, "scoring_tables": TCDScoringTables(**tables)})
        scores = random_model.score_pairs(TEXTS, features, self.CANDIDATES).text_video
        torch.testing.assert_close(scores, expected, atol=1e-6, rtol=0)

    def test_scores_listed_pairs_only_in_blocks(self, random_model, monkeypatch):
        sizes = []
        plain = FactorizedScorer.__call__

        def watched(scorer, texts, videos):
            sizes.append((texts.stop - texts.start, len(videos.frame_embeds)))
            return plain(scorer, texts, videos)

        features = features_of(random_model)
        elements = sum(values[0].numel() for values in features.values())
        bound_blocks(monkeypatch, 3 * elements)
        monkeypatch.setattr(FactorizedScorer, "__call__", watched)
        with torch.no_grad():
            random_model.score_pairs(TEXTS, features, self.CANDIDATES)
        assert sizes == [(1, 3), (1, 1)] * 3

    @pytest.mark.parametrize(
        ("candidates", "message"),
        [
            (torch.zeros(2, 4, dtype=torch.long), r"shape \(3, num_candidates\).* got torch.int64 of shape \(2, 4\)"),
            (torch.zeros(3, dtype=torch.long), r"got torch.int64 of shape \(3,\)"),
            (torch.zeros(3, 0, dtype=torch.long), "at least one candidate"),
            (torch.zeros(3, 4), "must be int64 .* got torch.float32"),
            (torch.tensor([[0], [5], [1]]), "0 to 4, or -1 for none; got values from 0 to 5"),
            (torch.tensor([[0], [-2], [1]]), "got values from -2 to 1"),
        ],
    )
    def test_candidates_that_are_no_rows(self, tiny_model, candidates, message):
        with pytest.raises(ValueError, match=message):
            tiny_model.score_pairs(TEXTS, features_of(tiny_model), candidates)


def test_texts_of_another_width(tiny_model):
    with pytest.raises(ValueError, match=r"`text_embeds` must have shape .*16\), got \(3, 8\)"):
        tiny_model.score(TEXTS[:, :8], features_of(tiny_model))


def test_features_that_hold_no_text_for_a_model_that_reads_it(tiny_model, make_model):
    blind = features_of(make_model(use_ocr=False))
    with pytest.raises(ValueError, match="ocr"):
        tiny_model.score(TEXTS, blind)
