"""EERCF of eercf.md: scores and losses against numbers worked out by hand, and an oracle of loops in float64."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel, SiglipConfig

from tcd_hf.modeling.backbones import project_patches
from tcd_hf.modeling.coarse_to_fine import (
    MixedScorer,
    PearsonConstraint,
    paired_gated_embeds,
    rerank_weights,
    training_weights,
    weak_scores,
)
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.modeling.outputs import TCDScoringTables, TCDVideoFeatures
from tcd_hf.modeling.temporal_encoder import TemporalEncoder, TemporalEncoderLayer
from tests.conftest import (
    NUM_FRAMES,
    TEXT_TOWER,
    TOWER,
    assert_computed_alike,
    bound_blocks,
    clip_inputs,
    enable_checkpointing,
    norms_like,
    randomise_fusion,
    skip_unless_outputs_compile,
)

DIM = 16
TIB = {"interaction": "tib"}
PATCHES = {"interaction": "tib", "use_patch_features": True, "rerank_tib_patch_weight": 0.3}
MIXES = pytest.mark.parametrize("options", [TIB, PATCHES], ids=["frames", "patches"])


def units(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def some_features(model, num_videos=5):
    """Features of videos that were never seen, so that the towers need not run."""
    patches = units(num_videos, NUM_FRAMES, 3, DIM, seed=2) if model.config.use_patch_features else None
    frames = units(num_videos, NUM_FRAMES, DIM, seed=1)
    with torch.no_grad():
        return model.fuse(frames, patch_embeds=patches, frame_norms=norms_like(frames))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class TestScoresByHand:
    """One text (1, 0). Two frames with cosines 1 and 0.6; temporal frames (0, 1) and (1, 0); four patches."""

    text = torch.tensor([[1.0, 0.0]])
    videos = TCDVideoFeatures(
        frame_embeds=torch.tensor([[[1.0, 0.0], [0.6, 0.8]]]),
        fused_frame_embeds=torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]),
        coarse_embeds=torch.tensor([[0.8, 0.6]]),
        patch_embeds=torch.tensor([[[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [-1.0, 0.0]]]]),
        scoring_tables=TCDScoringTables(frame_gram=torch.eye(2)[None]),
    )

    @pytest.fixture
    def model(self):
        projection = torch.nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.5, 1.0]]))
        config = SimpleNamespace(weak_temperature=0.4, tib_frame_temperature=0.2, tib_patch_temperature=0.4)
        coarse = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
        return SimpleNamespace(
            config=config, frame_projection=projection, get_coarse_queries=lambda text: text @ coarse
        )

    def expected(self):
        one = sigmoid(1.0)  # softmax of (1, 0.6) / 0.4 gives frame 0 this share
        two = sigmoid(2.0)  # and of (1, 0.6) / 0.2 this
        exponentials = [math.exp(each / 0.4) for each in (1.0, 0.6, 0.0, -1.0)]
        shares = [each / sum(exponentials) for each in exponentials]
        gated = (shares[0] + 0.6 * shares[1] - shares[3], 0.8 * shares[1] + shares[2])
        return {
            "video": 2.0 * 0.6,  # (1, 0) W_g = (0, 2)
            "frame": one + 0.6 * (0.5 * one + (1 - one)),  # shares W_f, and cosines times these
            "tib_frame": (1 - two) / math.hypot(two, 1 - two),
            "patch": shares[0] + 0.6 * shares[1] - shares[3],
            "tib_patch": gated[0] / math.hypot(*gated),
        }

    @pytest.mark.parametrize("as_written", [False, True])
    @pytest.mark.parametrize("name", ["video", "frame", "tib_frame", "patch", "tib_patch"])
    def test_each_alone(self, model, name, as_written):
        score = MixedScorer(model, self.text, {name: 1.0}, as_written)(slice(None), self.videos)["similarity"]
        assert score.shape == (1, 1)
        assert score.item() == pytest.approx(self.expected()[name], rel=1e-5)

    @pytest.mark.parametrize("as_written", [False, True])
    def test_the_mix(self, model, as_written):
        weights = {"video": 0.5, "frame": 0.8, "tib_frame": 0.2, "patch": 0.2, "tib_patch": 0.1}
        score = MixedScorer(model, self.text, weights, as_written)(slice(None), self.videos)["similarity"]
        expected = sum(weight * self.expected()[name] for name, weight in weights.items())
        assert score.item() == pytest.approx(expected, rel=1e-5)

    def test_another_number_of_frames_does_without_the_projection(self, model):
        cosines = torch.tensor([[[0.4], [0.0], [0.0]]])
        share = math.e / (math.e + 2)
        assert weak_scores(cosines, 0.4, model.frame_projection).item() == pytest.approx(0.4 * share, rel=1e-6)

    def test_published_weights(self, tiny_clip_config):
        config = TCDConfig(backbone_config=tiny_clip_config, **TIB)
        assert rerank_weights(config) == pytest.approx({"video": 0.5 / 1.5, "frame": 0.8 / 1.5, "tib_frame": 0.2 / 1.5})
        assert training_weights(config) == {"video": 0.5, "frame": 0.5}
        config = TCDConfig(backbone_config=tiny_clip_config, **TIB, use_patch_features=True)
        expected = {"video": 0.5 / 1.7, "frame": 0.8 / 1.7, "tib_frame": 0.2 / 1.7, "patch": 0.2 / 1.7}
        assert rerank_weights(config) == pytest.approx(expected)
        assert training_weights(config) == {"video": 0.5, "frame": 0.5, "patch": 0.05}


class TestGate:
    """Two videos that show (1, 0), then (0, 1); text 0 says (1, 0), text 1 says (0, 1)."""

    texts = torch.eye(2)
    frames = torch.eye(2).expand(2, 2, 2)
    share = sigmoid(2.0)  # of the frame that a text names, at temperature 0.5
    right = share / math.hypot(share, 1 - share)
    wrong = (1 - share) / math.hypot(share, 1 - share)

    def test_in_training_every_text_meets_the_frames_that_the_paired_text_gated(self):
        gated = paired_gated_embeds(self.texts, self.frames, self.frames, temperature=0.5)
        torch.testing.assert_close(gated, torch.tensor([[self.right, self.wrong], [self.wrong, self.right]]))
        torch.testing.assert_close(
            self.texts @ gated.T, torch.tensor([[self.right, self.wrong], [self.wrong, self.right]])
        )

    def test_in_evaluation_every_text_gates_for_itself(self):
        tables = TCDScoringTables(frame_gram=torch.eye(2).expand(2, 2, 2))
        videos = TCDVideoFeatures(frame_embeds=self.frames, fused_frame_embeds=self.frames, scoring_tables=tables)
        model = SimpleNamespace(
            config=SimpleNamespace(tib_frame_temperature=0.5), frame_projection=None, get_coarse_queries=torch.clone
        )
        scores = MixedScorer(model, self.texts, {"tib_frame": 1.0})(slice(None), videos)["similarity"]
        torch.testing.assert_close(scores, torch.full((2, 2), self.right))

    def test_it_reads_raw_frames_and_acts_on_temporal_ones(self):
        gated = paired_gated_embeds(self.texts, self.frames, 3 * self.frames.flip(1), temperature=0.5)
        torch.testing.assert_close(gated, torch.tensor([[self.wrong, self.right], [self.right, self.wrong]]))

    def test_no_gradient_flows_through_it(self):
        texts, raw, temporal = (each.clone().requires_grad_() for each in (self.texts, self.frames, self.frames))
        paired_gated_embeds(texts, raw, temporal, temperature=0.5)[:, 0].sum().backward()
        assert texts.grad is None and raw.grad is None
        assert temporal.grad.abs().sum() > 0


class TestPearson:
    def test_a_worked_example(self):
        left = torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 4.0], [3.0, 4.0]])  # standardised: -1 1 -1 1, and -1 -1 1 1
        right = torch.tensor([[0.0, 1.0], [2.0, 1.0], [2.0, 5.0], [0.0, 5.0]])  # -1 1 1 -1, and -1 -1 1 1
        # C = [[0, 0], [0, 1]]: the first dimensions do not correlate, the second ones do perfectly.
        assert PearsonConstraint(0.14, 0.0)(left, right).item() == pytest.approx(0.14, rel=1e-6)
        # With the sides' dimensions swapped: C = [[0, 1], [0, 0]].
        assert PearsonConstraint(0.14, 0.5)(left.flip(1), right).item() == pytest.approx(0.14 * 2 + 0.5, rel=1e-6)

    def test_a_perfect_match_and_its_opposite(self):
        features = units(6, 5)
        assert PearsonConstraint()(features, features).item() == pytest.approx(0, abs=1e-9)
        assert PearsonConstraint()(features, 3 * features + 1).item() == pytest.approx(0, abs=1e-9)  # scale, offset
        assert PearsonConstraint(0.14)(features, -features).item() == pytest.approx(0.14 * 5 * 4, rel=1e-5)

    @pytest.mark.parametrize(("sides", "off_diagonal"), [("left", 0.0), ("right", 0.0), ("left right", 0.3)])
    def test_a_constant_dimension_adds_nothing(self, sides, off_diagonal):
        left, right = units(6, 5), units(6, 5, seed=1)
        pearson = PearsonConstraint(0.14, off_diagonal)
        expected = pearson(left[:, 1:], right[:, 1:])
        for side in sides.split():
            {"left": left, "right": right}[side][:, 0] = 0.1  # no binary number: its mean is off by rounding
        left, right = left.requires_grad_(), right.requires_grad_()
        loss = pearson(left, right)
        torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-5)
        loss.backward()
        for features in (left, right):
            assert features.grad.isfinite().all() and features.grad[:, 1:].abs().sum() > 0
            assert not features.grad[:, 0].any()

    def test_a_batch_of_one_gives_zero_with_a_gradient_of_zero(self):
        left, right = units(1, 5).requires_grad_(), units(1, 5, seed=1).requires_grad_()
        loss = PearsonConstraint(0.14, 0.3)(left, right)
        assert loss.item() == 0
        loss.backward()
        assert not left.grad.any() and not right.grad.any()

    def test_equals_numpy(self):
        left, right = units(7, 4), units(7, 4, seed=1)
        matrix = np.corrcoef(left.numpy().astype(float), right.numpy().astype(float), rowvar=False)[:4, 4:]
        diagonal = np.diag(matrix)
        expected = 0.14 * ((diagonal - 1) ** 2).sum() + 0.3 * ((matrix**2).sum() - (diagonal**2).sum())
        assert PearsonConstraint(0.14, 0.3)(left, right).item() == pytest.approx(expected, rel=1e-5)


class TestTemporalEncoder:
    def config(self, **options):
        config = SimpleNamespace(num_frames=3, projection_dim=128, temporal_num_layers=2, fusion_num_heads=1)
        config.temporal_input, config.temporal_activation, config.temporal_layer_norm_eps = "raw", "gelu", 1e-5
        config._attn_implementation = "sdpa"
        for name, value in options.items():
            setattr(config, name, value)
        return config

    def test_equals_the_transformer_of_torch(self):
        encoder = randomise_fusion(TemporalEncoder(self.config()).eval())
        theirs = torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(128, 2, 512, 0.0, "gelu", batch_first=True, norm_first=True),
            num_layers=2,
            enable_nested_tensor=False,
        ).eval()
        for ours, layer in zip(encoder.layers, theirs.layers, strict=True):
            assert ours.attention.num_heads == 2  # of 64 channels
            weights = [getattr(ours.attention, f"{name}_proj") for name in "qkv"]
            with torch.no_grad():
                layer.self_attn.in_proj_weight.copy_(torch.cat([each.weight for each in weights]))
                layer.self_attn.in_proj_bias.copy_(torch.cat([each.bias for each in weights]))
            layer.self_attn.out_proj.load_state_dict(ours.attention.out_proj.state_dict())
            pairs = ("norm1", "attention_norm"), ("norm2", "mlp_norm"), ("linear1", "mlp_in"), ("linear2", "mlp_out")
            for name, own in pairs:
                getattr(layer, name).load_state_dict(getattr(ours, own).state_dict())
        frames = units(2, 3, 128)
        norms = norms_like(frames)
        raw = norms[..., None] * frames
        expected = torch.nn.functional.normalize(theirs(raw + encoder.position_embedding) + raw, dim=-1)
        torch.testing.assert_close(encoder(frames, norms), expected)
        of_units = TemporalEncoder(self.config(temporal_input="normalised")).eval()
        of_units.load_state_dict(encoder.state_dict())
        expected = torch.nn.functional.normalize(theirs(frames + encoder.position_embedding) + frames, dim=-1)
        torch.testing.assert_close(of_units(frames, norms), expected)

    @pytest.mark.parametrize(("dim", "heads"), [(512, 8), (768, 12), (128, 2), (16, 1), (200, 2), (65, 1)])
    def test_heads_divide_every_width(self, dim, heads):
        assert TemporalEncoderLayer(self.config(projection_dim=dim)).attention.num_heads == heads

    @pytest.mark.parametrize("interaction", ["tcd", "tib"])
    def test_untrained_it_gives_the_frames_back(self, make_model, interaction):
        encoder, frames = make_model(interaction=interaction).temporal_encoder, units(3, NUM_FRAMES, DIM)
        assert len(encoder.layers) == 4
        torch.testing.assert_close(encoder(frames, norms_like(frames)), frames, atol=1e-6, rtol=0)
        assert all(layer.attention.q_proj.weight.std() > 0 for layer in encoder.layers)  # as far as training can move

    def test_trained_it_knows_the_order_of_frames(self, make_model):
        model, frames = make_model(randomise=True), units(1, NUM_FRAMES, DIM)
        norms = torch.full((1, NUM_FRAMES), 10.0)
        coarse = [model.fuse(each, frames, frame_norms=norms).coarse_embeds for each in (frames, frames.flip(1))]
        assert (coarse[0] - coarse[1]).abs().max() > 1e-3

    @pytest.mark.parametrize("interaction", ["tcd", "tib"])
    def test_no_layers_no_parameters(self, make_model, interaction):
        model = make_model(interaction=interaction, temporal_num_layers=0)
        assert not [name for name in model.state_dict() if "temporal" in name]
        frames = units(2, NUM_FRAMES, DIM)
        assert torch.equal(model.fuse(frames, frames).fused_frame_embeds, frames)  # nothing was added to them

    def test_the_tcd_score_does_not_see_it(self, make_model, tiny_inputs):
        model = make_model(randomise=True)
        before = model(**tiny_inputs)
        for seed, parameter in enumerate(model.temporal_encoder.parameters()):
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))
        after = model(**tiny_inputs)
        for name in ("logits_per_text", "text_video_similarity"):
            assert_computed_alike(before[name], after[name], msg=name)
        assert_computed_alike(before.video_features.frame_embeds, after.video_features.frame_embeds)
        assert (before.video_features.coarse_embeds - after.video_features.coarse_embeds).abs().max() > 0.01


class TestCoarse:
    @pytest.mark.parametrize("interaction", ["tcd", "tib"])
    def test_queries_are_the_texts_at_the_start_and_projected_later(self, make_model, interaction):
        texts = units(3, DIM)
        assert_computed_alike(make_model(interaction=interaction).get_coarse_queries(texts), texts, atol=1e-6)
        model = make_model(interaction=interaction, randomise=True)
        expected = texts @ model.coarse_projection.weight.T
        torch.testing.assert_close(model.get_coarse_queries(texts), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert_computed_alike(model.get_coarse_queries(texts), expected)  # bfloat16 would be off by 1e-3
        assert model.to(torch.bfloat16).get_coarse_queries(texts.bfloat16()).dtype == torch.float32

    def test_only_tib_has_a_projection_of_frames(self, make_model):
        assert make_model().frame_projection is None
        assert torch.equal(make_model(**TIB).frame_projection.weight, torch.eye(NUM_FRAMES))

    def test_of_tcd_by_hand(self, make_model):
        model = make_model(randomise=True)
        frames, windows = units(2, NUM_FRAMES, DIM), units(2, NUM_FRAMES, DIM, seed=1)
        mask = torch.tensor([[True, False, True, False], [False] * 4])
        norms = norms_like(frames)
        coarse = model.fuse(frames, windows, mask, frame_norms=norms).coarse_embeds
        temporal = model.temporal_encoder(frames, norms).detach().double().numpy()
        halves = [each.mean(axis=0) / np.linalg.norm(each.mean(axis=0)) for each in temporal]
        read = windows[0, [0, 2]].double().numpy().mean(axis=0)
        first = halves[0] + read / np.linalg.norm(read)
        np.testing.assert_allclose(coarse[0].detach(), first / np.linalg.norm(first), atol=1e-6)
        np.testing.assert_allclose(coarse[1].detach(), halves[1], atol=1e-6)


class Oracle:
    """Evaluation and losses of eercf.md as it writes them, one pair at a time, in float64."""

    def __init__(self, model, texts, features):
        self.config = model.config
        numbers = {name: value for name, value in features.items() if torch.is_tensor(value)}
        numbers |= {"texts": texts, "coarse": model.coarse_projection.weight, "frame": model.frame_projection.weight}
        for name, value in numbers.items():
            setattr(self, name, value.detach().double().numpy())

    def weak(self, cosines, projection=None):
        shares = softmax(cosines / self.config.weak_temperature)
        return float(cosines @ (shares if projection is None else shares @ projection.T))

    def gated(self, text, moments, acted_on, temperature):
        vector = sum(share * each for share, each in zip(softmax(moments @ text / temperature), acted_on, strict=True))
        return vector / np.linalg.norm(vector)

    def parts(self, i, j):
        config, text, frames = self.config, self.texts[i], self.frame_embeds[j]
        gated = self.gated(text, frames, self.fused_frame_embeds[j], config.tib_frame_temperature)
        parts = {
            "video": text @ self.coarse.T @ self.coarse_embeds[j],
            "frame": self.weak(frames @ text, self.frame),
            "tib_frame": text @ gated,
        }
        if config.use_patch_features:
            patches = self.patch_embeds[j].reshape(-1, DIM)
            gated = self.gated(text, patches, patches, config.tib_patch_temperature)
            parts |= {"patch": self.weak(patches @ text), "tib_patch": text @ gated}
        return parts

    def matrix(self, prefix):
        names = self.parts(0, 0)
        weights = {name: getattr(self.config, f"{prefix}_{name}_weight", 0.0) for name in names}
        total = sum(weights.values()) if prefix == "rerank" else 1.0
        rows = [
            [sum(weights[name] * part for name, part in self.parts(i, j).items()) / total for j in range(len(videos))]
            for i, videos in enumerate([self.frame_embeds] * len(self.texts))
        ]
        return np.array(rows)

    def losses(self, scale):
        config, n = self.config, len(self.texts)
        own = [
            self.gated(self.texts[j], self.frame_embeds[j], self.fused_frame_embeds[j], config.tib_frame_temperature)
            for j in range(n)
        ]
        pearson = config.pearson_video_weight * self.pearson(self.coarse_embeds)
        pearson += config.pearson_tib_frame_weight * self.pearson(np.array(own))
        if config.use_patch_features and config.pearson_tib_patch_weight:
            patches = self.patch_embeds.reshape(n, -1, DIM)
            gated = [
                self.gated(t, each, each, config.tib_patch_temperature)
                for t, each in zip(self.texts, patches, strict=True)
            ]
            pearson += config.pearson_tib_patch_weight * self.pearson(np.array(gated))
        coarse = symmetric_cross_entropy(scale * self.matrix("training"))
        contrastive = symmetric_cross_entropy(scale * self.texts @ np.array(own).T)
        loss = config.coarse_loss_weight * coarse + config.tib_loss_weight * contrastive
        loss += config.pearson_weight * pearson
        return {"loss": loss, "coarse_loss": coarse, "contrastive_loss": contrastive, "pearson_loss": pearson}

    def pearson(self, features):
        correlations = np.diag(np.corrcoef(self.texts, features, rowvar=False)[:DIM, DIM:])
        return self.config.pearson_diagonal_weight * ((correlations - 1) ** 2).sum()


def softmax(logits):
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def symmetric_cross_entropy(logits):
    diagonal = range(len(logits))
    rows = [math.log(softmax(logits[i])[i]) for i in diagonal]
    columns = [math.log(softmax(logits[:, i])[i]) for i in diagonal]
    return -(np.mean(rows) + np.mean(columns)) / 2


class TestScore:
    @MIXES
    @pytest.mark.parametrize("method", ["factorized", "reference", None])
    def test_equals_the_oracle(self, make_model, options, method):
        model, texts = make_model(randomise=True, **options), units(3, DIM)
        features = some_features(model)
        expected = torch.tensor(Oracle(model, texts, features).matrix("rerank"), dtype=torch.float32)
        for each in (features, model.precompute(features)):
            with torch.no_grad():
                scores = model.score(texts, each, method)
            assert list(scores) == ["similarity", "text_video"]
            torch.testing.assert_close(scores.similarity, expected, atol=1e-5, rtol=0)
            assert torch.equal(scores.text_video, scores.similarity)

    def test_tables_are_the_dot_products_of_temporal_frames(self, make_model):
        model = make_model(randomise=True, **TIB)
        tables = model.precompute(features := some_features(model)).scoring_tables
        assert list(tables) == ["frame_gram"]
        expected = torch.einsum("bnd,bmd->bnm", features.fused_frame_embeds, features.fused_frame_embeds)
        torch.testing.assert_close(tables.frame_gram, expected)

    @MIXES
    @pytest.mark.parametrize("method", ["factorized", "reference"])
    @pytest.mark.parametrize("block_elements", [1, 300, 1000])
    def test_blocks_give_the_scores_of_all_pairs(self, make_model, monkeypatch, options, method, block_elements):
        model, texts = make_model(randomise=True, **options), units(3, DIM)
        features = some_features(model)
        at_once = model.score(texts, features, method).similarity
        bound_blocks(monkeypatch, block_elements)
        for each in (features, model.precompute(features)):
            in_blocks = model.score(texts, each, method).similarity
            torch.testing.assert_close(in_blocks, at_once, atol=1e-6, rtol=0)

    @MIXES
    def test_blocks_give_the_gradients_of_all_pairs(self, make_model, monkeypatch, options):
        gradients = []
        for block_elements in (2**22, 300):
            bound_blocks(monkeypatch, block_elements)
            model, texts = make_model(randomise=True, **options), units(3, DIM).requires_grad_()
            model.score(texts, some_features(model)).similarity.square().sum().backward()
            gradients.append([texts.grad, model.coarse_projection.weight.grad, model.frame_projection.weight.grad])
        for at_once, in_blocks in zip(*gradients, strict=True):
            assert at_once.abs().sum() > 0
            torch.testing.assert_close(in_blocks, at_once, atol=1e-5, rtol=1e-4)

    @MIXES
    def test_memory_is_bounded(self, make_model, monkeypatch, options):
        class Largest(TorchDispatchMode):
            largest = 0

            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                result = function(*args, **(kwargs or {}))
                # Views and the strings of other shapes that they make take no memory of their own.
                if torch.is_tensor(result) and result._base is None and result.is_contiguous():
                    self.largest = max(self.largest, result.numel())
                return result

        num_texts, num_videos, allowed = 50, 30, 2000
        model, texts = make_model(randomise=True, **options), units(num_texts, DIM)
        features = some_features(model, num_videos)
        bound_blocks(monkeypatch, allowed)
        with torch.no_grad(), Largest() as mode:
            scores = model.score(texts, features).similarity
        assert scores.numel() <= mode.largest <= allowed < num_texts * num_videos * NUM_FRAMES

    @MIXES
    def test_of_listed_pairs(self, make_model, options):
        model, texts = make_model(randomise=True, **options), units(3, DIM)
        features = some_features(model)
        candidates = torch.tensor([[4, 0, 2], [1, 1, -1], [3, -1, -1]])
        scores = model.score_pairs(texts, features, candidates).similarity
        every = model.score(texts, features).similarity.gather(1, candidates.clamp(min=0))
        torch.testing.assert_close(scores, every.masked_fill(candidates < 0, -torch.inf), atol=1e-6, rtol=0)

    def test_it_is_a_cosine_at_the_start_and_one_for_a_video_that_is_the_text(self, make_model):
        model, text = make_model(**PATCHES), units(1, DIM)
        frames, patches = text.expand(1, NUM_FRAMES, DIM), text.expand(1, NUM_FRAMES, 3, DIM)
        still = model.fuse(frames, patch_embeds=patches, frame_norms=norms_like(frames))
        assert model.score(text, still).similarity.item() == pytest.approx(1, abs=1e-5)
        assert model.score(text, some_features(model)).similarity.abs().max() <= 1

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    def test_features_kept_in_half_precision_score_nearly_the_same(self, make_model, dtype):
        model, texts = make_model(randomise=True, **PATCHES), units(3, DIM)
        features = some_features(model)
        expected = model.score(texts, features).similarity
        halved = model.precompute(features).map_videos(lambda rows: rows.to(dtype))
        scores = model.score(texts, halved).similarity
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, expected, atol=0.05 if dtype == torch.bfloat16 else 0.005, rtol=0)

    def test_mistakes(self, make_model):
        model, features = make_model(**PATCHES), some_features(make_model(**TIB))
        with pytest.raises(ValueError, match=r"scores patches .* features hold none"):
            model.score(units(2, DIM), features)
        with pytest.raises(ValueError, match="`patch_embeds` is missing"):
            model.fuse(features.frame_embeds, frame_norms=features.frame_norms)
        with pytest.raises(ValueError, match=r"`patch_embeds` must have shape \(5, 4, 7, 16\), got \(5, 3, 7, 16\)"):
            model.fuse(features.frame_embeds, None, None, torch.zeros(5, 3, 7, 16), features.frame_norms)
        with pytest.raises(ValueError, match=r"must have shape \(num_texts, 16\)"):
            model.score(units(2, 8), features)

    def test_compiles_to_one_graph(self, make_model):
        skip_unless_outputs_compile()
        model, texts = make_model(randomise=True, **PATCHES), units(3, DIM)
        features = some_features(model)
        with torch.no_grad():
            expected = model.score(texts, features).similarity
            scores = torch.compile(model.score, fullgraph=True, backend="eager")(texts, features).similarity
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)


class TestForward:
    def video_only(self, inputs):
        return {"pixel_values_videos": inputs["pixel_values_videos"]}

    def text_only(self, inputs):
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    @MIXES
    def test_text_only_video_only_and_both(self, make_model, options):
        model, inputs = make_model(randomise=True, **options), clip_inputs(num_texts=2, num_videos=3)
        text, video = model(**self.text_only(inputs)), model(**self.video_only(inputs))
        assert list(text) == ["text_embeds", "text_model_output"]
        assert list(video) == ["video_features"]
        both = model(**self.text_only(inputs), **self.video_only(inputs))
        assert both.logits_per_text.shape == (2, 3) and both.loss is None
        assert torch.equal(both.logits_per_video, both.logits_per_text.T)
        scores = model.score(text.text_embeds, video.video_features)
        torch.testing.assert_close(both.logits_per_text, scores.similarity * model.logit_scale.exp())
        assert both.text_ocr_similarity is None and both.text_hybrid_similarity is None
        assert both.video_features.ocr_embeds is None
        assert (both.video_features.patch_embeds is not None) == model.config.use_patch_features

    def test_captions_are_ignored(self, make_model):
        model, inputs = make_model(randomise=True, **TIB, share_ocr_encoder=False), clip_inputs()
        assert model.ocr_encoder is model.backbone and not model.config.reads_ocr
        assert not [name for name in model.state_dict() if "co_attention" in name or "distillation" in name]
        without = model(**self.text_only(inputs), **self.video_only(inputs))
        assert_computed_alike(model(**inputs).logits_per_text, without.logits_per_text)

    def test_loss_needs_pairs(self, make_model):
        with pytest.raises(ValueError, match="got 2 texts and 3 videos"):
            make_model(**TIB)(**clip_inputs(num_texts=2, num_videos=3), return_loss=True)

    def test_the_scale_of_the_logits_stops_at_100(self, make_model):
        model, inputs = make_model(**TIB), clip_inputs()
        with torch.no_grad():
            model.logit_scale.fill_(5.0)
        output = model(**inputs)
        torch.testing.assert_close(output.logits_per_text, 100 * output.text_video_similarity)

    def test_default_weights_of_the_coarse_loss(self, make_model):
        assert make_model().config.coarse_loss_weight == 0.2
        assert make_model(**TIB).config.coarse_loss_weight == 0.8
        assert make_model(**TIB, coarse_loss_weight=0.0).config.coarse_loss_weight == 0.0

    @MIXES
    def test_a_few_steps_learn_the_batch(self, make_model, options):
        model, inputs = make_model(**options).train(), clip_inputs(num_texts=4, num_videos=4)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(20):
            optimizer.zero_grad()
            output = model(**inputs, return_loss=True)
            output.loss.backward()
            optimizer.step()
        assert output.contrastive_loss.item() < 0.2 and output.coarse_loss.item() < 0.2  # log 4 = 1.39 at chance
        similarity = model.eval()(**inputs).logits_per_text
        assert similarity.argmax(dim=1).tolist() == [0, 1, 2, 3]

    @MIXES
    @pytest.mark.parametrize("num_pairs", [1, 3])
    def test_activation_checkpointing_changes_nothing(self, make_model, options, num_pairs):
        plain, inputs = make_model(randomise=True, **options).train(), clip_inputs(num_pairs, num_pairs)
        checkpointed = copy.deepcopy(plain)
        enable_checkpointing(checkpointed)
        assert checkpointed.temporal_encoder.gradient_checkpointing
        losses = []
        for model in (plain, checkpointed):
            losses.append(model(**inputs, return_loss=True).loss)
            losses[-1].backward()
        torch.testing.assert_close(*losses)
        for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
            assert one.grad is not None and one.grad.isfinite().all(), name
            torch.testing.assert_close(one.grad, other.grad, msg=name)

    def test_autocast_and_half_precision(self, make_model):
        model, inputs = make_model(randomise=True, **PATCHES).train(), clip_inputs()
        expected = model(**inputs, return_loss=True)
        with torch.autocast("cpu", torch.bfloat16):
            output = model(**inputs, return_loss=True)
        inputs["pixel_values_videos"] = inputs["pixel_values_videos"].bfloat16()
        halved = model.to(torch.bfloat16)(**inputs, return_loss=True)
        for each in (output, halved):
            assert each.loss.dtype == each.pearson_loss.dtype == each.logits_per_text.dtype == torch.float32
            torch.testing.assert_close(each.text_video_similarity, expected.text_video_similarity, atol=0.05, rtol=0)
            torch.testing.assert_close(each.loss, expected.loss, atol=0.2, rtol=0)


class TestZeroShot:
    def backbone(self, config):
        torch.manual_seed(0)
        return AutoModel.from_config(copy.deepcopy(config)).eval()

    @pytest.mark.parametrize("fixture", ["tiny_clip_config", "tiny_siglip_config"])
    def test_an_untrained_model_scores_with_its_backbone_alone(self, request, fixture):
        backbone, inputs = self.backbone(request.getfixturevalue(fixture)), clip_inputs()
        model = TCDModel.from_backbone(backbone, num_frames=NUM_FRAMES, **TIB)
        with torch.no_grad():
            output = model(**inputs)
            frames = backbone.get_image_features(inputs["pixel_values_videos"].flatten(0, 1)).pooler_output
        frames = torch.nn.functional.normalize(frames, dim=-1)
        features = output.video_features
        assert_computed_alike(features.frame_embeds.flatten(0, 1), frames)
        torch.testing.assert_close(features.fused_frame_embeds, features.frame_embeds, atol=1e-6, rtol=0)
        mean = torch.nn.functional.normalize(features.frame_embeds.mean(dim=1), dim=-1)
        torch.testing.assert_close(features.coarse_embeds, mean, atol=1e-6, rtol=0)
        for i, text in enumerate(output.text_embeds):
            for j, video in enumerate(features.frame_embeds):
                cosines = video @ text
                weak = (cosines * (cosines / 0.01).softmax(dim=0)).sum()
                gated = (cosines / 0.1).softmax(dim=0) @ video
                expected = (0.5 * mean[j] @ text + 0.8 * weak + 0.2 * gated @ text / gated.norm()) / 1.5
                torch.testing.assert_close(output.text_video_similarity[i, j], expected, atol=1e-5, rtol=0)

    def test_a_checkpoint_without_the_new_weights_starts_neutral(self, make_model, tmp_path):
        make_model(temporal_num_layers=0).save_pretrained(tmp_path)
        plain = TCDModel.from_pretrained(tmp_path)
        inputs = clip_inputs()
        grown = TCDModel.from_pretrained(tmp_path, temporal_num_layers=2)
        torch.testing.assert_close(grown(**inputs).logits_per_text, plain(**inputs).logits_per_text)
        features = (model(**inputs).video_features.coarse_embeds for model in (grown, plain))
        torch.testing.assert_close(*features, atol=1e-6, rtol=0)
        other = TCDModel.from_pretrained(tmp_path, interaction="tib", temporal_num_layers=2)
        assert torch.equal(other.frame_projection.weight, torch.eye(NUM_FRAMES))
        frames = units(2, NUM_FRAMES, DIM)
        fused = other.fuse(frames, frame_norms=norms_like(frames)).fused_frame_embeds
        torch.testing.assert_close(fused, frames, atol=1e-6, rtol=0)

    @pytest.mark.parametrize("interaction", ["tcd", "tib"])
    def test_projections_missing_from_a_checkpoint_are_the_identity_and_no_matter(
        self, make_model, tmp_path, interaction
    ):
        make_model(interaction=interaction, temporal_num_layers=0).save_pretrained(tmp_path)
        weights = load_file(tmp_path / "model.safetensors")
        kept = {name: each for name, each in weights.items() if "backbone" in name or "_projection" not in name}
        assert len(weights) - len(kept) == (2 if interaction == "tib" else 1)
        save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
        model, info = TCDModel.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"]
        assert torch.equal(model.coarse_projection.weight, torch.eye(DIM))
        if interaction == "tib":
            assert torch.equal(model.frame_projection.weight, torch.eye(NUM_FRAMES))

    def test_built_on_the_meta_device(self, tiny_clip_config):
        config = TCDConfig(backbone_config=copy.deepcopy(tiny_clip_config), num_frames=NUM_FRAMES, **PATCHES)
        with torch.device("meta"):
            model = TCDModel(config)
        assert all(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])


class TestPatches:
    def test_clip_takes_a_patch_where_it_takes_its_class_token(self, make_model):
        model, inputs = make_model(**PATCHES), clip_inputs(num_videos=2)
        with torch.no_grad():
            features = model.get_video_features(inputs["pixel_values_videos"])
            hidden = features.vision_model_output.last_hidden_state  # (8, 5, 32): class token and 4 patches
            as_patches = project_patches(model.backbone, hidden[:, [0, 0]])[:, 0]
            vision = model.backbone.vision_model
            projected = model.backbone.visual_projection(vision.post_layernorm(hidden[5, 3]))
        torch.testing.assert_close(as_patches, features.vision_model_output.pooler_output)
        assert features.patch_embeds.shape == (2, NUM_FRAMES, 4, DIM)
        # Frame 1 of video 1 is image 5; its patch 2 comes after the class token.
        expected = torch.nn.functional.normalize(projected, dim=-1)
        torch.testing.assert_close(features.patch_embeds[1, 1, 2], expected, atol=1e-6, rtol=0)

    def test_siglip_takes_a_patch_as_an_image_of_one_patch(self, make_model):
        torch.manual_seed(0)
        config = SiglipConfig(text_config=TEXT_TOWER, vision_config={**TOWER, "image_size": 8, "patch_size": 8})
        model = make_model(backbone_config=config, **PATCHES)
        pixels = clip_inputs(num_videos=2)["pixel_values_videos"][..., :8, :8]
        features = model.get_video_features(pixels)
        assert features.patch_embeds.shape == (2, NUM_FRAMES, 1, 32)
        torch.testing.assert_close(features.patch_embeds[:, :, 0], features.frame_embeds, atol=1e-6, rtol=0)

    def test_siglip_with_several_patches(self, make_model, tiny_siglip_config):
        model = make_model(backbone_config=tiny_siglip_config, **PATCHES)
        features = model.get_video_features(clip_inputs(num_videos=2)["pixel_values_videos"])
        assert features.patch_embeds.shape == (2, NUM_FRAMES, 4, 32)
        torch.testing.assert_close(features.patch_embeds.norm(dim=-1), torch.ones(2, NUM_FRAMES, 4))
        hidden = features.vision_model_output.last_hidden_state[5, 3].view(1, 1, 32)  # already through the last norm
        expected = torch.nn.functional.normalize(model.backbone.vision_model.head(hidden)[0], dim=-1)
        torch.testing.assert_close(features.patch_embeds[1, 1, 3], expected, atol=1e-6, rtol=0)

    def test_only_when_asked_for(self, make_model):
        pixels = clip_inputs(num_videos=2)["pixel_values_videos"]
        assert make_model(**TIB).get_video_features(pixels).patch_embeds is None

    def test_tcd_gives_them_and_scores_the_same(self, make_model):
        plain, inputs = make_model(randomise=True), clip_inputs()
        model = make_model(randomise=True, use_patch_features=True)
        output = model(**inputs)
        assert output.video_features.patch_embeds.shape == (3, NUM_FRAMES, 4, DIM)
        torch.testing.assert_close(output.logits_per_text, plain(**inputs).logits_per_text)

    def test_a_backbone_that_cannot(self, tiny_siglip2_config):
        config = TCDConfig(backbone_config=tiny_siglip2_config, num_frames=NUM_FRAMES, **PATCHES)
        with pytest.raises(ValueError, match=r"known are \['clip', 'siglip'\], got 'siglip2'"):
            TCDModel(config)
