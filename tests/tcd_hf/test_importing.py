"""Checkpoints in the layouts of published code, with random weights: features and scores against that code, slowly."""

import copy

import pytest
import torch
from torch import nn

from tcd_hf.importing import convert_state_dict, import_checkpoint
from tcd_hf.loading import load
from tests.tcd_hf.conftest import invoke, make_tiny_model, make_tiny_processor

DIM, VISION, VOCAB, WORDS, PATCH, SIDE = 128, 64, 514, 77, 8, 16
VIDEOS, FRAMES, LAYERS = 3, 5, 2
normalize = nn.functional.normalize


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x, mask=None):
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers=LAYERS, eps=1e-5):
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width, eps) for _ in range(layers)))

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, VISION, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(VISION))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, VISION))
        self.ln_pre, self.ln_post = nn.LayerNorm(VISION), nn.LayerNorm(VISION)
        self.transformer = Transformer(VISION, layers=3)
        self.proj = nn.Parameter(torch.randn(VISION, DIM))

    def forward(self, images):
        """The class token, then all patches, `(num_images, 1 + num_patches, DIM)`."""
        patches = self.conv1(images).flatten(2).mT
        tokens = torch.cat([self.class_embedding.expand(len(images), 1, -1), patches], dim=1)
        return self.ln_post(self.transformer(self.ln_pre(tokens + self.positional_embedding))) @ self.proj


class OpenAI(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual, self.transformer = Visual(), Transformer(DIM)
        self.token_embedding = nn.Embedding(VOCAB, DIM)
        self.positional_embedding = nn.Parameter(torch.randn(WORDS, DIM))
        self.ln_final = nn.LayerNorm(DIM)
        self.text_projection = nn.Parameter(torch.randn(DIM, DIM))
        self.logit_scale = nn.Parameter(torch.tensor(4.0))

    def encode_text(self, ids):
        length = ids.shape[1]
        mask = torch.full((length, length), -torch.inf).triu(1)
        hidden = self.transformer(self.token_embedding(ids) + self.positional_embedding[:length], mask)
        hidden = self.ln_final(hidden) @ self.text_projection
        return hidden[torch.arange(len(ids)), ids.argmax(dim=-1)]


class Published(nn.Module):
    """The modules of EERCF, CLIP4Clip or X-CLIP, by their names."""

    def __init__(self, format, temporal=True):
        super().__init__()
        self.clip = OpenAI()
        if temporal:
            self.frame_position_embeddings = nn.Embedding(WORDS, DIM)
            self.transformerClip = Transformer(DIM, eps=1e-12)
        if format in ("eercf", "xclip"):
            self.global_mat_weight = nn.Parameter(torch.eye(DIM))
            self.frame_logit_weight = nn.Parameter(torch.eye(FRAMES))
        if format == "xclip":
            for name in ("word_logit_weight", "word_mat_weight", "word_mat_weight2"):
                setattr(self, name, nn.Parameter(torch.eye(7)))
            for name in ("frame_mat_weight", "frame_mat_weight2"):
                setattr(self, name, nn.Parameter(torch.eye(FRAMES)))
            self.local_mat_weight = nn.Parameter(torch.eye(DIM))

    def temporal(self, raw):
        if not hasattr(self, "transformerClip"):
            return raw
        return self.transformerClip(raw + self.frame_position_embeddings.weight[: raw.shape[1]]) + raw

    def features(self, pixels):
        """Raw frames, temporal frames, coarse vectors and patches, the latter three of unit length."""
        hidden = self.clip.visual(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        raw = hidden[:, :, 0]
        temporal = normalize(self.temporal(raw), dim=-1)
        return raw, temporal, normalize(temporal.mean(dim=1), dim=-1), normalize(hidden[:, :, 1:], dim=-1)


def make_published(format, **options) -> Published:
    torch.manual_seed(0)
    published = Published(format, **options).eval()
    with torch.no_grad():
        for name, weight in published.named_parameters():
            scale = 0.1 if weight.ndim < 2 else 0.5 * weight.shape[-1] ** -0.5
            keeps = (
                "_mat_weight" in name or "_logit_weight" in name or weight.ndim < 2
            )  # the identity, norms, the scale
            weight.copy_(weight * keeps + scale * torch.randn(weight.shape))
    return published


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 500, (4, 9), generator=generator)
    for row, length in enumerate((4, 9, 6, 7)):
        ids[row, 0], ids[row, length - 1 :] = VOCAB - 2, VOCAB - 1
    return ids, torch.randn(VIDEOS, FRAMES, 3, SIDE, SIDE, generator=generator)


def compare(model, published, inputs):
    """Embeddings of texts and features of videos, as both give them."""
    ids, pixels = inputs
    with torch.no_grad():
        texts = model.get_text_features(ids, torch.ones_like(ids)).pooler_output
        features = model.get_video_features(pixels)
        expected = normalize(published.clip.encode_text(ids), dim=-1)
        raw, temporal, coarse, patches = published.features(pixels)
    torch.testing.assert_close(texts, expected, atol=1e-5, rtol=0)
    norms = raw.norm(dim=-1)
    torch.testing.assert_close(features.frame_norms, norms, atol=0, rtol=1e-5)
    torch.testing.assert_close(features.frame_embeds, raw / norms[..., None], atol=1e-5, rtol=0)
    torch.testing.assert_close(features.fused_frame_embeds, temporal, atol=1e-5, rtol=0)
    torch.testing.assert_close(features.coarse_embeds, coarse, atol=1e-5, rtol=0)
    return texts, features, normalize(raw, dim=-1), temporal, coarse, patches


def eercf_score(published, text, frames, temporal, coarse, patches):
    """Its second stage, for one text and one video."""
    by_frame, by_patch = frames @ text, patches.flatten(0, 1) @ text
    video = (text @ published.global_mat_weight) @ coarse
    frame = (by_frame * ((by_frame / 0.01).softmax(dim=0) @ published.frame_logit_weight)).sum()
    patch = (by_patch * (by_patch / 0.01).softmax(dim=0)).sum()
    gated = text @ normalize((by_frame / 0.1).softmax(dim=0) @ temporal, dim=0)
    return (0.8 * frame + 0.2 * gated + 0.2 * patch + 0.5 * video) / 1.7


def test_eercf(inputs):
    published = make_published("eercf")
    model = convert_state_dict(published.state_dict(), "eercf")
    texts, features, *videos = compare(model, published, inputs)
    torch.testing.assert_close(features.patch_embeds, videos[-1], atol=1e-5, rtol=0)
    with torch.no_grad():
        expected = [[eercf_score(published, text, *video) for video in zip(*videos, strict=True)] for text in texts]
        scores = model.score(texts, features).similarity
        torch.testing.assert_close(scores, torch.tensor(expected), atol=1e-5, rtol=0)
        coarse = texts @ published.global_mat_weight @ videos[2].T
        torch.testing.assert_close(
            model.get_coarse_queries(texts) @ features.coarse_embeds.T, coarse, atol=1e-5, rtol=0
        )
    assert model.logit_scale.item() == pytest.approx(published.clip.logit_scale.item())
    assert not model.training and model.config.num_frames == FRAMES


@pytest.mark.parametrize("temporal", [False, True], ids=["meanP", "seqTransf"])
def test_clip4clip(inputs, temporal):
    published = make_published("clip4clip", temporal=temporal)
    model = convert_state_dict(published.state_dict(), "clip4clip", num_frames=FRAMES)
    texts, features, _, _, coarse, _ = compare(model, published, inputs)
    with torch.no_grad():
        torch.testing.assert_close(model.score(texts, features).similarity, texts @ coarse.T, atol=1e-5, rtol=0)
    assert convert_state_dict(published.state_dict(), "clip4clip").config.num_frames == 12


def test_it_is_trained_further_by_what_trained_it(inputs):
    published = make_published("clip4clip")
    model = convert_state_dict(published.state_dict(), "clip4clip", num_frames=FRAMES)
    ids, pixels = inputs[0][:VIDEOS], inputs[1]
    loss = model(ids, pixels, torch.ones_like(ids), return_loss=True).loss
    with torch.no_grad():
        coarse = published.features(pixels)[2]
        logits = published.clip.logit_scale.exp() * normalize(published.clip.encode_text(ids), dim=-1) @ coarse.T
        target = torch.arange(VIDEOS)
        entropy = nn.functional.cross_entropy
        expected = (entropy(logits, target) + entropy(logits.T, target)) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_xclip_has_its_towers_and_temporal_encoder_and_says_so(inputs):
    published = make_published("xclip")
    with pytest.warns(UserWarning, match="X-CLIP's own score is not reproduced"):
        model = convert_state_dict(published.state_dict(), "xclip")
    compare(model, published, inputs)
    assert torch.equal(model.coarse_projection.weight, torch.eye(DIM)) and model.config.num_frames == FRAMES


class TestNames:
    def test_left_over(self):
        state = make_published("clip4clip").state_dict() | {"similarity_dense.weight": torch.ones(1)}
        with pytest.raises(ValueError, match=r"one of clip4clip: left over are 1: similarity_dense\.weight\."):
            convert_state_dict(state, "clip4clip")
        with pytest.warns(UserWarning, match=r"left over are 1: similarity_dense"):
            convert_state_dict(state, "clip4clip", allow_unmapped=True)
        with pytest.raises(ValueError, match=r"left over are 6: .*word_logit_weight"):
            convert_state_dict(make_published("xclip").state_dict(), "eercf")

    @pytest.mark.parametrize(
        ("missing", "message"),
        [
            ("global_mat_weight", r"missing are 1: coarse_projection\.weight"),
            ("clip.visual.transformer.resblocks.1.attn.in_proj_bias", r"missing are 3: backbone\.vision_model"),
            (
                "transformerClip.resblocks.1.ln_1.bias",
                r"missing are 1: temporal_encoder\.layers\.1\.attention_norm",
            ),
            ("clip.logit_scale", r"missing are 1: backbone\.logit_scale"),
        ],
    )
    def test_missing(self, missing, message):
        state = make_published("eercf").state_dict()
        del state[missing]
        with pytest.raises(ValueError, match=message):
            convert_state_dict(state, "eercf")
        with pytest.warns(UserWarning, match=message):
            convert_state_dict(state, "eercf", allow_unmapped=True)

    def test_no_clip_or_another_number_of_frames_or_format(self):
        state = make_published("eercf").state_dict()
        with pytest.raises(ValueError, match=r"is of 5 frames a video \(`frame_logit_weight`\), not 12"):
            convert_state_dict(state, "eercf", num_frames=12)
        with pytest.raises(ValueError, match=r"(?s)other shapes than .*size mismatch for temporal_encoder\.position"):
            convert_state_dict(make_published("clip4clip").state_dict(), "clip4clip", num_frames=WORDS + 1)
        with pytest.raises(ValueError, match=r"format must be one of 'eercf', 'clip4clip', 'xclip', got 'tcd'"):
            convert_state_dict(state, "tcd")
        with pytest.raises(ValueError, match=r"no 'clip\.visual\.conv1\.weight': .* begin with \['backbone'"):
            convert_state_dict(make_tiny_model().state_dict(), "clip4clip")


class TestCommand:
    @pytest.fixture
    def processor(self, tmp_path):
        """A folder with the parts of a processor, as that of a dual encoder."""
        make_tiny_model().save_pretrained(tmp_path / "clip")
        make_tiny_processor().save_pretrained(tmp_path / "clip")
        return tmp_path / "clip"

    def test_imports_from_file_to_folder(self, tmp_path, processor, inputs):
        published = make_published("eercf")
        half = {name: copy.deepcopy(weight).half().float() for name, weight in published.state_dict().items()}
        torch.save({name: weight.half() for name, weight in half.items()}, tmp_path / "pytorch_model.bin")
        options = "--format", "eercf", "--processor", processor, "--out", tmp_path / "out"
        done = invoke("import", tmp_path / "pytorch_model.bin", *options)
        assert done.exit_code == 0, done.stderr
        assert "eercf: 5 frames" in done.stdout
        model, made = load(tmp_path / "out")
        assert made.num_frames == FRAMES and made.max_length == 32
        assert len(made(text=["word " * 50])["input_ids"][0]) == 32
        published.load_state_dict(half)
        compare(model, published, inputs)

    def test_files_that_are_no_state_dict(self, tmp_path, processor):
        class Code:
            def __reduce__(self):
                return (print, ("run",))

        for name, value in {"code.bin": {"a": Code()}, "list.bin": [torch.ones(1)]}.items():
            torch.save(value, tmp_path / name)
        (tmp_path / "text.bin").write_text("no weights")
        for name, message in {"code.bin": "Cannot read", "list.bin": "but list", "text.bin": "Cannot read"}.items():
            with pytest.raises(ValueError, match=message):
                import_checkpoint(tmp_path / name, "eercf", processor)
        with pytest.raises(ValueError, match=r"Cannot read .*none\.bin"):
            import_checkpoint(tmp_path / "none.bin", "eercf", processor)
