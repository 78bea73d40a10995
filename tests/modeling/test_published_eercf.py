"""EERCF as its published code computes it (eercf.md), from raw frames: a slow oracle in float64, pair by pair."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, CLIPConfig, CLIPModel

from tcd_hf.evaluation.evaluate_model import rank
from tcd_hf.modeling.coarse_to_fine import MixedScorer
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.modeling.temporal_encoder import copy_text_layers
from tests.conftest import TEXT_TOWER, TOWER

DIM, FRAMES, PATCHES, LAYERS, VIDEOS = 128, 6, 4, 4, 24
SCALE = 55.0
MIX = {"frame": 0.8, "tib_frame": 0.2, "patch": 0.2, "video": 0.5}  # of the second stage
NORMS = pytest.mark.parametrize("norm", [1.0, 10.0])
normalize = torch.nn.functional.normalize


@pytest.fixture(scope="module")
def model() -> TCDModel:
    """All its weights are those of a trained one in size; the towers do not run."""
    tower = {**TOWER, "num_hidden_layers": 1}
    vision = {**tower, "image_size": 16, "patch_size": 8}
    backbone = CLIPConfig(text_config={**TEXT_TOWER, **tower}, vision_config=vision, projection_dim=DIM)
    config = TCDConfig(backbone_config=backbone, interaction="tib", num_frames=FRAMES, use_patch_features=True)
    model, generator = TCDModel(config).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.startswith("backbone."):
                noise = torch.randn(weight.shape, generator=generator)
                start = weight if weight.ndim == 2 and "projection" in name else 1.0 * name.endswith("norm.weight")
                weight.copy_(start + noise * (0.5 * weight.shape[-1] ** -0.5))
        model.logit_scale.fill_(np.log(SCALE))
    return model


def clips(norm: float) -> dict[str, torch.Tensor]:
    """Texts, raw frames of about that norm, and patches; text `i` describes video `i`."""
    generator = torch.Generator().manual_seed(1)

    def noise(*shape):
        return torch.randn(*shape, DIM, generator=generator) * DIM**-0.5

    about = noise(VIDEOS)
    lengths = norm * (1 + 0.2 * torch.rand(VIDEOS, FRAMES, 1, generator=generator))
    return {
        "texts": normalize(about + 5 * noise(VIDEOS), dim=-1),
        "raw": lengths * normalize(about[:, None] + noise(VIDEOS, FRAMES), dim=-1),
        "patches": normalize(about[:, None, None] + 2 * noise(VIDEOS, FRAMES, PATCHES), dim=-1),
    }


def features_of(model, data):
    norms = data["raw"].norm(dim=-1)
    return model.fuse(data["raw"] / norms[..., None], patch_embeds=data["patches"], frame_norms=norms)


class Published:
    """The published formulas, with weights of our names in their layout: one packed matrix for query, key and value."""

    def __init__(self, model):
        self.weights = {
            name: weight.detach().double().requires_grad_()
            for name, weight in model.named_parameters()
            if not name.startswith("backbone.")
        }
        self.text_to_video = self.weights["coarse_projection.weight"].T  # W_g, of rows
        self.frame_weights = self.weights["frame_projection.weight"].T  # W_f

    def layer_norm(self, states, name):
        centred = states - states.mean(dim=-1, keepdim=True)
        variance = centred.pow(2).mean(dim=-1, keepdim=True)
        return centred / torch.sqrt(variance + 1e-12) * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, states, name):
        attention = self.weights
        packed = [torch.cat([attention[f"{name}.{part}_proj.{kind}"] for part in "qkv"]) for kind in ("weight", "bias")]
        queries, keys, values = (states @ packed[0].T + packed[1]).chunk(3, dim=-1)
        heads = []
        for head in range(DIM // 64):
            channels = slice(64 * head, 64 * (head + 1))
            logits = queries[:, channels] @ keys[:, channels].T / 8
            heads.append(logits.softmax(dim=-1) @ values[:, channels])
        return torch.cat(heads, dim=-1) @ attention[f"{name}.out_proj.weight"].T + attention[f"{name}.out_proj.bias"]

    def mlp(self, states, name):
        hidden = states @ self.weights[f"{name}.mlp_in.weight"].T + self.weights[f"{name}.mlp_in.bias"]
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        return hidden @ self.weights[f"{name}.mlp_out.weight"].T + self.weights[f"{name}.mlp_out.bias"]

    def temporal(self, raw):
        """Temporal frames of one video, unit vectors."""
        states = raw + self.weights["temporal_encoder.position_embedding"]
        for layer in range(LAYERS):
            name = f"temporal_encoder.layers.{layer}"
            states = states + self.attention(self.layer_norm(states, f"{name}.attention_norm"), f"{name}.attention")
            states = states + self.mlp(self.layer_norm(states, f"{name}.mlp_norm"), name)
        return unit(states + raw)

    def videos(self, data):
        """`(temporal frames, frames, patches)` of each video."""
        return [
            (self.temporal(raw), unit(raw), patches.flatten(0, 1))
            for raw, patches in zip(data["raw"], data["patches"], strict=True)
        ]

    def scores(self, text, video):
        temporal, frames, patches = video
        by_frame, by_patch = frames @ text, patches @ text
        gated = unit((by_frame / 0.1).softmax(dim=0) @ temporal)
        return {
            "video": (text @ self.text_to_video) @ unit(temporal.mean(dim=0)),
            "frame": (by_frame * ((by_frame / 0.01).softmax(dim=0) @ self.frame_weights)).sum(),
            "patch": (by_patch * (by_patch / 0.01).softmax(dim=0)).sum(),
            "tib_frame": text @ gated,
            "tib_patch": text @ unit((by_patch / 0.01).softmax(dim=0) @ patches),
        }

    def matrices(self, data):
        videos = self.videos(data)
        rows = [[self.scores(text, video) for video in videos] for text in data["texts"]]
        return {name: torch.stack([torch.stack([one[name] for one in row]) for row in rows]) for name in rows[0][0]}

    def loss(self, data):
        """Each video gated by its own text, without gradient."""
        texts, videos, all_scores = data["texts"], self.videos(data), self.matrices(data)
        pairs = zip(texts, videos, strict=True)
        gates = [(frames @ text / 0.1).softmax(dim=0).detach() for text, (_, frames, _) in pairs]
        gated = torch.stack([unit(gate @ temporal) for gate, (temporal, _, _) in zip(gates, videos, strict=True)])
        coarse = torch.stack([unit(temporal.mean(dim=0)) for temporal, _, _ in videos])
        mix = 0.5 * all_scores["video"] + 0.5 * all_scores["frame"] + 0.05 * all_scores["patch"]
        pearson = self.pearson(texts, coarse) + self.pearson(texts, gated)
        return 0.8 * cross_entropy(SCALE * mix) + 0.2 * cross_entropy(SCALE * texts @ gated.T) + 0.001 * pearson

    def pearson(self, left, right):
        left, right = ((each - each.mean(dim=0)) / each.std(dim=0, correction=0) for each in (left, right))
        return 0.14 * ((left * right).mean(dim=0) - 1).pow(2).sum()


def unit(vectors):
    return vectors / vectors.pow(2).sum(dim=-1, keepdim=True).sqrt()


def cross_entropy(logits):
    return -(logits.log_softmax(dim=0).diagonal().mean() + logits.log_softmax(dim=1).diagonal().mean()) / 2


def in_float64(data):
    return {name: value.detach().double().requires_grad_() for name, value in data.items()}


@NORMS
def test_every_score_is_the_published_one(model, norm):
    data = clips(norm)
    with torch.no_grad():
        features, expected = features_of(model, data), Published(model).matrices(in_float64(data))
        for name, scores in expected.items():
            found = MixedScorer(model, data["texts"], {name: 1.0})
            found = found(slice(None), found.prepare(features))["similarity"]
            assert (SCALE * (found - scores)).abs().max() < 1e-3, name
        mix = sum(weight * expected[name] for name, weight in MIX.items()) / sum(MIX.values())
        assert (SCALE * (model.score(data["texts"], features).similarity - mix)).abs().max() < 1e-3


@NORMS
def test_two_stages_rank_as_published(model, norm):
    data, top_k = clips(norm), 5
    with torch.no_grad():
        features, scores = features_of(model, data), Published(model).matrices(in_float64(data))
    ranks = rank(model, data["texts"], np.arange(VIDEOS), features, "two-stage", top_k)["t2v"]
    mix = sum(weight * scores[name] for name, weight in MIX.items())
    order = scores["video"].argsort(dim=1, descending=True)
    for text in range(VIDEOS):
        candidates = sorted(order[text, :top_k].tolist(), key=lambda video: -mix[text, video])
        assert ranks[text] == 1 + [*candidates, *order[text, top_k:].tolist()].index(text)
    assert len(set(ranks)) > 3 and (ranks > top_k).any()  # neither all right nor all among the candidates


@NORMS
def test_the_gradients_are_the_published_ones(model, norm):
    data = clips(norm)
    for value in data.values():
        value.requires_grad_()
    model.zero_grad()
    loss = model.compute_losses(data["texts"], features_of(model, data)).loss
    loss.backward()
    theirs, exact = Published(model), in_float64(data)
    expected = theirs.loss(exact)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    found = {name: weight.grad for name, weight in model.named_parameters() if name in theirs.weights}
    pairs = {name: (found[name], weight.grad) for name, weight in theirs.weights.items()}
    pairs |= {name: (value.grad, exact[name].grad) for name, value in data.items()}
    for name, (ours, published) in pairs.items():
        rounding = 1e-7 if name.endswith("k_proj.bias") else 0.0  # which no softmax sees: its gradient is none
        assert (ours - published).norm() < 1e-5 * published.norm() + rounding, name


def test_unit_vectors_are_something_else(model):
    """Norms are no detail: without them the published scores are missed by logits."""
    data, weights = clips(10.0), model.state_dict()
    normalised = TCDModel(TCDConfig(**{**model.config.to_dict(), "temporal_input": "normalised"})).eval()
    normalised.load_state_dict(weights)
    with torch.no_grad():
        expected = Published(model).matrices(in_float64(data))["video"]
        coarse = features_of(normalised, data).coarse_embeds
        assert (SCALE * (model.get_coarse_queries(data["texts"]) @ coarse.T - expected)).abs().max() > 1


class TestStart:
    def backbone(self, **options):
        torch.manual_seed(0)
        text = {**TEXT_TOWER, "hidden_size": DIM, "num_attention_heads": DIM // 64, "num_hidden_layers": 2}
        text = {**text, "intermediate_size": 4 * DIM, **options}
        vision = {**TOWER, "image_size": 16, "patch_size": 8}
        return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM)).eval()

    def build(self, backbone, **options):
        given = {"interaction": "tib", "num_frames": FRAMES, "temporal_num_layers": 2}
        return TCDModel.from_backbone(backbone, **{**given, "temporal_start": "text_layers", **options})

    def test_layers_and_positions_are_those_of_the_text_tower(self):
        backbone = self.backbone(layer_norm_eps=1e-12)
        encoder, text = self.build(backbone).temporal_encoder, backbone.text_model
        frames = 10 * torch.randn(2, FRAMES, DIM)
        norms = frames.norm(dim=-1)
        states = frames + text.embeddings.position_embedding.weight[:FRAMES]
        with torch.no_grad():
            for layer in text.encoder.layers:  # without a causal mask: a frame sees those after it
                output = layer(states, None)
                states = output[0] if isinstance(output, tuple) else output
            found = encoder(frames / norms[..., None], norms)
        torch.testing.assert_close(found, normalize(states + frames, dim=-1), atol=1e-5, rtol=0)

    def test_a_tower_that_does_not_fit(self, tiny_clip_config):
        with pytest.raises(ValueError, match=r"has layers 3, .*the text tower layers 2, "):
            self.build(self.backbone(), temporal_num_layers=3)
        with pytest.raises(ValueError, match=r"heads 2, .*the text tower .*heads 4,"):
            self.build(self.backbone(num_attention_heads=4))
        with pytest.raises(ValueError, match=r"inner width 512; the text tower .*inner width 37\."):
            self.build(self.backbone(intermediate_size=37))
        with pytest.raises(ValueError, match=r"positions 17, width 128"):
            self.build(self.backbone(), num_frames=17)  # of 16 places
        with pytest.raises(ValueError, match=r"width 16, heads 1, .*the text tower .*width 32, heads 4, "):
            self.build(CLIPModel(tiny_clip_config))
        bert = BertConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
        with pytest.raises(ValueError, match=r"copies layers of CLIP's text tower, which BertModel does not have"):
            copy_text_layers(self.build(self.backbone()).temporal_encoder, BertModel(bert))

    def test_neutral_is_the_default(self):
        encoder = self.build(self.backbone(), temporal_start="neutral").temporal_encoder
        assert not encoder.position_embedding.any() and not encoder.layers[0].mlp_out.weight.any()
