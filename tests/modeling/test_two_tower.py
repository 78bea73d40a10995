"""Backbones of two towers of any kind, by themselves and under a TCDModel."""

import copy

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    BertForMaskedLM,
    CLIPConfig,
    CLIPModel,
    SiglipConfig,
    SiglipModel,
    T5Config,
    T5EncoderModel,
    ViTForImageClassification,
)

from tcd_hf import TCDConfig, TCDModel
from tcd_hf.modeling.configuration_two_tower import TwoTowerConfig
from tcd_hf.modeling.two_tower import TwoTowerModel, pool_tokens
from tests.conftest import NUM_FRAMES, assert_computed_alike, clip_inputs, enable_checkpointing, randomise_fusion
from tests.towers import IMAGE, IMAGE_CONFIGS, SMALL, TEXT_CONFIGS, make_tower, word_tokenizer

PAIRS = [(text, "ConvNeXt") for text in TEXT_CONFIGS] + [
    ("BERT", image) for image in IMAGE_CONFIGS if image != "ConvNeXt"
]


def make_model(text: str = "BERT", image: str = "ConvNeXt", **options) -> TCDModel:
    torch.manual_seed(1)  # of what is new
    return TCDModel.from_backbone(text=make_tower(text), image=make_tower(image), num_frames=NUM_FRAMES, **options)


def make_inputs() -> dict[str, torch.Tensor]:
    """Those of other tiny models, with ids that the word tokenizer has, and its padding."""
    inputs = clip_inputs()
    for name in ("", "ocr_"):
        ids, mask = inputs[f"{name}input_ids"], inputs[f"{name}attention_mask"]
        inputs[f"{name}input_ids"] = (4 + ids % 20).where(mask.bool(), torch.tensor(0))
    return inputs


def pooled_by_hand(states: np.ndarray, mask: np.ndarray, pooling: str) -> np.ndarray:
    rows = [state[kept.astype(bool)] for state, kept in zip(states, mask, strict=True)]
    return np.stack([{"mean": row.mean(axis=0), "cls": row[0], "last": row[-1]}[pooling] for row in rows])


class TestPooling:
    @pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_by_hand_with_padding_on_either_side(self, pooling, side):
        states = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
        lengths = np.array([[5], [2], [1]])
        places = np.arange(5)
        mask = (places < lengths) if side == "right" else (places >= 5 - lengths)
        found = pool_tokens(torch.from_numpy(states), torch.from_numpy(mask.astype(np.int64)), pooling)
        np.testing.assert_allclose(found, pooled_by_hand(states, mask, pooling), atol=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_a_mean_of_many_halves_does_not_overflow_or_drift(self, dtype):
        states = torch.full((1, 512, 2), 300.0, dtype=dtype)  # their sum is above all numbers of float16
        pooled = pool_tokens(states, torch.ones(1, 512, dtype=torch.long), "mean")
        assert pooled.dtype == dtype
        assert torch.equal(pooled, states[:, 0])

    def test_of_a_text_without_tokens_is_a_number(self):
        states, mask = torch.ones(1, 3, 2), torch.zeros(1, 3, dtype=torch.long)
        assert torch.equal(pool_tokens(states, mask, "mean"), torch.zeros(1, 2))
        assert pool_tokens(states, mask, "last").isfinite().all()

    @pytest.mark.parametrize("pooling", ["mean", "cls", "last", "pooler"])
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_text_embeddings_are_the_encoders_own(self, pooling, side):
        encoder = make_tower("BERT")
        model = make_model(text_pooling=pooling)
        texts = ["the store tesco express", "open", "a shop"]
        inputs = word_tokenizer(side)(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            found = model.backbone.get_text_features(inputs["input_ids"], inputs["attention_mask"]).pooler_output
            output = encoder(**inputs)
        expected = output.pooler_output
        if pooling != "pooler":
            expected = pooled_by_hand(output.last_hidden_state.numpy(), inputs["attention_mask"].numpy(), pooling)
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_without_a_mask_all_are_tokens(self):
        backbone, ids = make_model().backbone, torch.tensor([[2, 5, 6, 3]])
        with torch.no_grad():
            assert_computed_alike(
                backbone.get_text_features(ids).pooler_output,
                backbone.get_text_features(ids, torch.ones_like(ids)).pooler_output,
            )

    def test_no_text_depends_on_its_batch(self):
        """Padding of any length changes nothing, in any family."""
        tokenizer = word_tokenizer()
        for family in TEXT_CONFIGS:
            model = make_model(family, text_pooling="last" if family == "Qwen3" else None)
            alone = tokenizer(["a shop"], return_tensors="pt")
            batch = tokenizer(["a shop", "the store tesco express at gate b4"], padding=True, return_tensors="pt")
            with torch.no_grad():
                one, many = (
                    model.get_text_features(each["input_ids"], each["attention_mask"]).pooler_output[0]
                    for each in (alone, batch)
                )
            assert_computed_alike(one, many, msg=family)


class TestFamilies:
    @pytest.mark.parametrize(("text", "image"), PAIRS)
    def test_train_score_save_and_load(self, tmp_path, text, image):
        model, inputs = make_model(text, image), make_inputs()
        model.train()
        model(**inputs, return_loss=True).loss.backward()
        for part in ("text_model", "vision_model", "text_projection", "visual_projection"):
            gradients = {name: weight.grad for name, weight in getattr(model.backbone, part).named_parameters()}
            silent = {name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()}
            assert silent <= {"embeddings.mask_token"}, (part, silent)  # DINOv2's, for its own training
            assert any(gradient.any() for gradient in gradients.values() if gradient is not None), part

        randomise_fusion(model.eval())
        with torch.no_grad():
            output = model(**inputs)
            for method in ("factorized", "reference"):
                scores = model.score(output.text_embeds, output.video_features, method)
                assert_computed_alike(scores.similarity * model.logit_scale.exp(), output.logits_per_text, msg=method)
            model.save_pretrained(tmp_path)
            loaded, info = TCDModel.from_pretrained(tmp_path, output_loading_info=True)
            assert not info["missing_keys"] and not info["unexpected_keys"]
            assert_computed_alike(loaded(**inputs).logits_per_text, output.logits_per_text)
            assert loaded.config.to_dict()["backbone_config"] == model.config.to_dict()["backbone_config"]

    @pytest.mark.parametrize("image", IMAGE_CONFIGS)
    def test_frames_are_the_image_encoders_own_vectors(self, image):
        encoder, model, pixels = make_tower(image), make_model(image=image), torch.randn(2, 3, 16, 16)
        with torch.no_grad():
            output = encoder(pixel_values=pixels)
            expected = output.last_hidden_state[:, 0] if image == "ViT" else output.pooler_output
            found = model.backbone.get_image_features(pixels).pooler_output
            if image == "ConvNeXt":  # of another width
                expected = expected @ model.backbone.visual_projection.weight.T
        assert_computed_alike(found, expected)

    @pytest.mark.parametrize(("config", "kind"), [(SiglipConfig, SiglipModel), (CLIPConfig, CLIPModel)])
    def test_the_image_tower_of_a_dual_encoder(self, tmp_path, config, kind):
        torch.manual_seed(0)
        encoder = kind(config(vision_config=IMAGE, text_config={**SMALL, "vocab_size": 20})).eval()
        encoder.save_pretrained(tmp_path)
        pixels = torch.randn(2, 3, 16, 16)
        with torch.no_grad():
            expected = encoder.vision_model(pixel_values=pixels).pooler_output
            for image in (encoder, tmp_path):
                backbone = TCDModel.from_backbone(text=make_tower("BERT"), image=image).backbone
                assert_computed_alike(backbone.get_image_features(pixels).pooler_output, expected)

    def test_encoders_under_heads(self, tmp_path):
        torch.manual_seed(0)
        text = BertForMaskedLM(TEXT_CONFIGS["BERT"]()).eval()
        image = ViTForImageClassification(IMAGE_CONFIGS["ViT"]()).eval()
        text.save_pretrained(tmp_path / "text")
        image.save_pretrained(tmp_path / "image")
        ids, pixels = torch.tensor([[2, 5, 6, 3]]), torch.randn(2, 3, 16, 16)
        for towers in ((text, image), (tmp_path / "text", tmp_path / "image")):
            backbone = TCDModel.from_backbone(text=towers[0], image=towers[1]).backbone
            with torch.no_grad():
                words, frames = backbone.get_text_features(ids), backbone.get_image_features(pixels)
                assert_computed_alike(words.pooler_output, text.bert(ids).last_hidden_state.mean(dim=1))
                assert_computed_alike(frames.pooler_output, image.vit(pixels).last_hidden_state[:, 0])

    def test_the_shape_of_a_small_sentence_encoder_over_convnext(self):
        """MiniLM's widths beside the image tower of the package's checkpoint."""
        text = {"hidden_size": 384, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 64}
        image = {"hidden_sizes": [40, 80, 160], "depths": [1, 1, 1], "num_stages": 3, "image_size": 128}
        config = TwoTowerConfig(
            text_config={"model_type": "bert", "vocab_size": 30, **text},
            vision_config={"model_type": "convnext", **image},
        )
        model = TCDModel(TCDConfig(backbone_config=config.to_dict(), num_frames=NUM_FRAMES)).eval()
        assert model.config.projection_dim == 384
        assert torch.equal(model.backbone.text_projection.weight, torch.eye(384))
        assert model.backbone.visual_projection.weight.shape == (384, 160)
        inputs = {**make_inputs(), "pixel_values_videos": torch.randn(3, NUM_FRAMES, 3, 128, 128)}
        with torch.no_grad():
            assert model(**inputs).logits_per_text.isfinite().all()


class TestProjections:
    def test_between_equal_widths_are_the_identity_exactly(self):
        for dtype in (torch.float32, torch.bfloat16):
            backbone = TCDModel.from_backbone(text=make_tower("BERT").to(dtype), image=make_tower("ViT")).backbone
            assert {weight.dtype for weight in backbone.parameters()} == {dtype}
            vectors = torch.randn(5, 32, dtype=dtype)
            assert torch.equal(backbone.text_projection(vectors), vectors)
            assert torch.equal(backbone.visual_projection(vectors), vectors)

    def test_to_another_width_keep_lengths_about(self):
        backbone = make_model(projection_dim=400).backbone
        assert backbone.config.projection_dim == 400
        vectors = torch.randn(50, 32)
        ratio = backbone.text_projection(vectors).norm(dim=-1) / vectors.norm(dim=-1)
        assert abs(ratio.mean() - 1) < 0.1

    def test_survive_loading_where_they_were_trained(self, tmp_path):
        backbone = make_model(image="ViT").backbone
        with torch.no_grad():
            backbone.text_projection.weight.mul_(2)
            backbone.logit_scale.fill_(3.0)
        backbone.save_pretrained(tmp_path)
        for loader in (TwoTowerModel, AutoModel):
            loaded = loader.from_pretrained(tmp_path)
            assert type(loaded) is TwoTowerModel
            assert torch.equal(loaded.text_projection.weight, 2 * torch.eye(32))
            assert loaded.logit_scale.item() == 3.0

    def test_of_a_backbone_that_is_given_are_copied(self):
        backbone = make_model().backbone
        with torch.no_grad():
            backbone.visual_projection.weight.fill_(0.5)
        model = TCDModel.from_backbone(backbone, num_frames=NUM_FRAMES)
        assert model.backbone.visual_projection.weight.eq(0.5).all()


class TestAsATransformersModel:
    def test_a_pooling_layer_that_nothing_reads_is_left_out(self):
        names = set(make_model(image="ViT").state_dict())
        assert not [name for name in names if "pooler" in name]
        kept = set(make_model(text_pooling="pooler").state_dict())
        assert "backbone.text_model.pooler.dense.weight" in kept

    def test_an_ocr_tower_of_its_own_has_no_image_side(self):
        model = make_model(share_ocr_encoder=False)
        own = dict(model.ocr_backbone.named_parameters())
        assert own and all(name.startswith(("text_model.", "text_projection.")) for name in own)
        shared = model.backbone.state_dict()
        assert all(torch.equal(weight, shared[name]) for name, weight in own.items())
        with torch.no_grad():
            output = model(**make_inputs())
        assert_computed_alike(output.logits_per_text, make_model()(**make_inputs()).logits_per_text.detach())

    def test_checkpointing_gives_the_same_gradients(self):
        def gradients(model):
            model.train()
            for module in model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            model(**make_inputs(), return_loss=True).loss.backward()
            return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

        plain, saving = make_model(image="ViT", fusion_dropout=0.0), make_model(image="ViT", fusion_dropout=0.0)
        enable_checkpointing(saving)
        assert saving.backbone.text_model.encoder.layer[0].gradient_checkpointing
        assert_computed_alike(gradients(saving), gradients(plain))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_halves_score_about_as_wholes(self, tmp_path, dtype):
        model, inputs = make_model("ModernBERT", "DINOv2"), make_inputs()
        model.save_pretrained(tmp_path)
        halved = TCDModel.from_pretrained(tmp_path, dtype=dtype)
        assert {weight.dtype for weight in halved.parameters()} == {dtype}
        with torch.no_grad():
            inputs["pixel_values_videos"] = inputs["pixel_values_videos"].to(dtype)
            found = halved(**inputs).text_ocr_similarity
            inputs["pixel_values_videos"] = inputs["pixel_values_videos"].float()
            torch.testing.assert_close(found, model(**inputs).text_ocr_similarity, atol=0.03, rtol=0)

    def test_blocks_that_are_not_split_and_weights_that_are_not_tied(self):
        model = make_model(image="ViT")
        assert {"BertLayer", "VideoOCRCoAttention"} <= set(model._no_split_modules)
        assert not model.all_tied_weights_keys

    def test_attention_implementations_reach_the_towers(self, tmp_path):
        make_model(image="ViT").save_pretrained(tmp_path)
        model = TCDModel.from_pretrained(tmp_path, attn_implementation="eager")
        for tower in (model.backbone.text_model, model.backbone.vision_model):
            assert tower.config._attn_implementation == "eager"
        with torch.no_grad():
            output = model.get_text_features(torch.tensor([[2, 5, 3]]), output_attentions=True)
        assert len(output.attentions) == 2

    def test_input_embeddings_are_the_text_encoders(self):
        model = make_model()
        assert model.get_input_embeddings() is model.backbone.text_model.embeddings.word_embeddings
        assert model.backbone.get_input_embeddings() is model.get_input_embeddings()
        model.backbone.set_input_embeddings(copy.deepcopy(model.get_input_embeddings()))


class TestRefusals:
    def test_what_is_no_pair(self):
        bert = make_tower("BERT")
        with pytest.raises(TypeError, match=r"both `text` and `image`; got \['text'\]"):
            TCDModel.from_backbone(text=bert)
        with pytest.raises(TypeError, match="got none of them"):
            TCDModel.from_backbone()
        with pytest.raises(TypeError, match=r"got \['backbone', 'text', 'image'\]"):
            TCDModel.from_backbone(bert, text=bert, image=bert)
        with pytest.raises(TypeError, match="`text_pooling` is for"):
            TCDModel.from_backbone(make_model().backbone, text_pooling="cls")

    def test_options_of_loading_that_have_no_use(self, tmp_path):
        bert, vit = make_tower("BERT"), make_tower("ViT")
        with pytest.raises(TypeError, match="how to load towers"):
            TCDModel.from_backbone(text=bert, image=vit, backbone_kwargs={"dtype": torch.float16})
        with pytest.raises(ValueError, match=r"`revision` \('main'\) cannot be that of two models"):
            TCDModel.from_backbone(text=tmp_path, image=vit, backbone_kwargs={"revision": "main"})
        with pytest.raises(ValueError, match=r"`subfolder` \('encoder'\) cannot be that of two models"):
            TCDModel.from_backbone(text=tmp_path, image=vit, backbone_kwargs={"subfolder": "encoder"})

    def test_a_pooling_that_the_encoder_does_not_have(self):
        model = make_model("ModernBERT", text_pooling="pooler")
        with pytest.raises(ValueError, match=r'gives no `pooler_output`.*take "mean", "cls" or "last"'):
            model(**make_inputs())

    def test_patches(self):
        with pytest.raises(ValueError, match=r"known are \['clip', 'siglip'\], got 'two_tower'"):
            make_model(image="ViT", interaction="tib", use_patch_features=True)

    def test_layers_that_are_not_clips(self):
        with pytest.raises(ValueError, match='Use `temporal_start="neutral"`'):
            make_model(temporal_start="text_layers")

    def test_an_encoder_that_is_half_of_a_model(self):
        sizes = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 20}
        config = T5Config(**sizes, is_encoder_decoder=False)
        with pytest.raises(ValueError, match="T5EncoderModel does not have the weights of a T5Model"):
            TCDModel.from_backbone(text=T5EncoderModel(config), image=make_tower("ViT"))

    def test_an_encoder_decoder(self):
        with pytest.raises(ValueError, match="'t5' is an encoder-decoder"):
            TwoTowerModel(TwoTowerConfig(text_config=T5Config().to_dict(), projection_dim=8))

    @pytest.mark.parametrize("options", [{"text_pooling": "max"}, {"projection_dim": 0}, {"image_pooling": "mean"}])
    def test_values_out_of_range(self, options):
        with pytest.raises(Exception, match=next(iter(options))):
            TwoTowerConfig(**options)
