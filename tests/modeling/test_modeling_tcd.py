"""TCDModel as a transformers model: outputs, losses, gradients, dtypes, saving and loading. Scores: test_scoring.py."""

import copy
import importlib.util
import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel, CLIPModel

from tcd_hf.modeling import modeling_tcd
from tcd_hf.modeling.backbones import encode_text
from tcd_hf.modeling.modeling_tcd import TCDModel
from tests.conftest import NUM_FRAMES, assert_computed_alike, enable_checkpointing, skip_unless_outputs_compile

ABLATIONS = [
    {},
    {"text_condition": "before"},
    {"use_co_attention": False},
    {"use_distillation": False},
    {"use_distillation": False, "use_cross_attention": False},
    {"use_calibration": False},
    {"share_ocr_encoder": False},
    {"use_ocr": False},
    {"temporal_num_layers": 0},
    {"interaction": "tib"},
    {"interaction": "tib", "use_patch_features": True, "temporal_num_layers": 1},
]


def name_of(options: dict) -> str:
    return "-".join(f"{name}={value}" for name, value in options.items()) or "all of TCD"


def text_inputs(inputs: dict) -> dict:
    return {name: inputs[name] for name in ("input_ids", "attention_mask")}


def video_inputs(inputs: dict) -> dict:
    return {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}


def to_dtype(inputs: dict, dtype: torch.dtype) -> dict:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}


def logits(model: TCDModel, inputs: dict) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs).logits_per_text


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class TestOutputs:
    def test_shapes_and_order_of_fields(self, random_model, make_inputs):
        output = random_model(**make_inputs(num_texts=2, num_videos=3))
        assert output.loss is None
        assert output.logits_per_text.shape == (2, 3)
        assert torch.equal(output.logits_per_video, output.logits_per_text.T)
        assert output.text_embeds.shape == (2, 16)
        for name in ("frame_embeds", "ocr_embeds", "fused_frame_embeds", "fused_ocr_embeds"):
            assert output.video_features[name].shape == (3, NUM_FRAMES, 16)
        assert output.video_features.ocr_mask.dtype == torch.long  # as masks of transformers
        fields = list(modeling_tcd.TCDOutput.__dataclass_fields__)
        assert list(output) == [name for name in fields if getattr(output, name) is not None]

    def test_logits_are_the_scaled_similarity_of_the_parts(self, random_model, tiny_inputs):
        output = random_model(**tiny_inputs)
        parts = (output.text_video_similarity, output.text_ocr_similarity, output.text_hybrid_similarity)
        torch.testing.assert_close(output.logits_per_text, random_model.logit_scale.exp() * sum(parts) / 3)

    def test_forward_is_made_of_the_public_steps(self, random_model, tiny_inputs):
        output = random_model(**tiny_inputs)
        text = random_model.get_text_features(**text_inputs(tiny_inputs)).pooler_output
        video = random_model.get_video_features(**video_inputs(tiny_inputs))
        assert_computed_alike(output.text_embeds, text)
        for name in ("frame_embeds", "ocr_embeds", "fused_frame_embeds", "fused_ocr_embeds", "coarse_embeds"):
            assert_computed_alike(output.video_features[name], video[name], msg=name)
        again = random_model.fuse(video.frame_embeds, video.ocr_embeds, video.ocr_mask, frame_norms=video.frame_norms)
        assert_computed_alike(again.fused_frame_embeds, video.fused_frame_embeds)
        scores = random_model.score(text, again)
        assert_computed_alike(output.text_hybrid_similarity, scores.text_hybrid)

    def test_text_only_and_video_only(self, tiny_model, tiny_inputs):
        both = tiny_model(**tiny_inputs)
        text, video = tiny_model(**text_inputs(tiny_inputs)), tiny_model(**video_inputs(tiny_inputs))
        assert list(text) == ["text_embeds", "text_model_output"]
        assert list(video) == ["video_features"]
        assert_computed_alike(text.text_embeds, both.text_embeds)
        assert_computed_alike(video.video_features.coarse_embeds, both.video_features.coarse_embeds)

    def test_return_dict_false_gives_the_same_as_a_tuple(self, tiny_model, tiny_inputs):
        expected = tiny_model(**tiny_inputs, return_loss=True)
        output = tiny_model(**tiny_inputs, return_loss=True, return_dict=False)
        assert type(output) is tuple
        assert len(output) == len(expected)
        torch.testing.assert_close(output[0], expected.loss)
        torch.testing.assert_close(output[5], expected.logits_per_text)
        video_features = output[list(expected).index("video_features")]
        assert type(video_features) is tuple
        assert_computed_alike(video_features[0], expected.video_features.frame_embeds)

    def test_embeddings_are_unit_vectors(self, random_model, tiny_inputs):
        output = random_model(**tiny_inputs)
        features = output.video_features
        for embeds in (output.text_embeds, features.frame_embeds, features.ocr_embeds, features.coarse_embeds):
            torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(embeds.shape[:-1]))

    def test_coarse_vector_by_hand(self, tiny_model):
        unit = torch.eye(16)
        frames = torch.stack([unit[0], unit[1], unit[0], unit[1]])[None].expand(2, -1, -1)
        windows = torch.stack([unit[2], unit[3], unit[4], unit[5]])[None].expand(2, -1, -1)
        mask = torch.tensor([[True, True, False, False], [False] * 4])
        coarse = tiny_model.fuse(frames, windows, mask, frame_norms=torch.ones(2, 4)).coarse_embeds
        # n(mean v) = (1, 1, 0, ...) / sqrt 2; n(mean o) = (0, 0, 1, 1, ...) / sqrt 2, over windows with text, if any.
        torch.testing.assert_close(coarse[0, :6], torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0, 0.0]))
        torch.testing.assert_close(coarse[1, :3], torch.tensor([0.5**0.5, 0.5**0.5, 0.0]))

    def test_equal_captions_are_encoded_once_and_come_back_in_place(self, tiny_model, tiny_inputs):
        inputs = video_inputs(tiny_inputs)
        ids, mask = inputs["ocr_input_ids"].clone(), inputs["ocr_attention_mask"].clone()
        ids[1, 0], mask[1, 0] = ids[0, 2], mask[0, 2]
        encoded = []
        hook = tiny_model.backbone.text_projection.register_forward_hook(lambda *call: encoded.append(len(call[-1])))
        features = tiny_model.get_video_features(**{**inputs, "ocr_input_ids": ids, "ocr_attention_mask": mask})
        hook.remove()
        different = len({tuple(row) for row in torch.cat([ids, mask], dim=-1).flatten(0, 1).tolist()})
        assert encoded == [different] and different < ids.shape[0] * ids.shape[1]
        assert torch.equal(features.ocr_model_output.pooler_output, features.ocr_embeds.flatten(0, 1))
        assert torch.equal(features.ocr_embeds[1, 0], features.ocr_embeds[0, 2])
        for i, j in ((0, 0), (1, 1), (2, 3)):
            alone = tiny_model.get_text_features(ids[i, j][None], mask[i, j][None]).pooler_output[0]
            torch.testing.assert_close(features.ocr_embeds[i, j], alone, atol=1e-6, rtol=0)

    def test_evaluation_is_deterministic_and_training_drops(self, make_model, tiny_inputs):
        model = make_model(randomise=True)
        assert_computed_alike(logits(model, tiny_inputs), logits(model, tiny_inputs))
        model.train()
        assert (logits(model, tiny_inputs) - logits(model, tiny_inputs)).abs().max() > 0.01  # of logits up to 14

    @pytest.mark.parametrize("implementation", ["eager", "sdpa"])
    def test_hidden_states_and_attentions(self, make_model, tiny_inputs, implementation):
        model = make_model(randomise=True)
        model.set_attn_implementation(implementation)
        output = model(**tiny_inputs, output_attentions=True, output_hidden_states=True)
        features = output.video_features
        towers = (output.text_model_output, features.vision_model_output, features.ocr_model_output)
        assert [len(tower.hidden_states) for tower in towers] == [3, 3, 3]  # embeddings and two layers
        assert output.text_model_output.hidden_states[-1].shape == (3, 8, 32)
        assert features.vision_model_output.hidden_states[-1].shape == (3 * NUM_FRAMES, 5, 32)
        if implementation == "sdpa":  # computes no weights
            assert features.co_attentions is None
            return
        assert [len(tower.attentions) for tower in towers] == [2, 2, 2]
        assert output.text_model_output.attentions[0].shape == (3, 4, 8, 8)
        video_weights, ocr_weights = features.co_attentions
        assert video_weights.shape == ocr_weights.shape == (3, 1, NUM_FRAMES, NUM_FRAMES)
        torch.testing.assert_close(video_weights.sum(dim=-1), torch.ones(3, 1, NUM_FRAMES))
        assert video_weights[1, 0][:, ~tiny_inputs["ocr_mask"][1]].abs().sum() == 0  # windows without text are not read
        assert model(**tiny_inputs).video_features.co_attentions is None

    @pytest.mark.parametrize("options", [{}, {"text_condition": "before", "fusion_num_heads": 2}], ids=name_of)
    def test_sdpa_equals_eager(self, make_model, tiny_inputs, options):
        model = make_model(randomise=True, **options)
        assert model.config._attn_implementation == model.backbone.config._attn_implementation == "sdpa"
        expected = logits(model, tiny_inputs)
        model.set_attn_implementation("eager")
        assert model.config._attn_implementation == "eager"
        assert model.backbone.text_model.config._attn_implementation == "eager"
        torch.testing.assert_close(logits(model, tiny_inputs), expected, atol=1e-5, rtol=1e-5)


class TestErrors:
    def test_nothing_given(self, tiny_model):
        with pytest.raises(ValueError, match="Nothing to embed"):
            tiny_model()

    def test_no_captions_for_a_model_that_reads(self, tiny_model, tiny_inputs):
        with pytest.raises(ValueError, match="`ocr_input_ids` is missing"):
            tiny_model(pixel_values_videos=tiny_inputs["pixel_values_videos"])
        features = tiny_model(**tiny_inputs).video_features
        with pytest.raises(ValueError, match="`ocr_embeds` is missing"):
            tiny_model.fuse(features.frame_embeds, frame_norms=features.frame_norms)

    def test_no_norms_for_a_model_that_reads_raw_frames(self, make_model, tiny_inputs):
        features = make_model()(**tiny_inputs).video_features
        given = features.frame_embeds, features.ocr_embeds, features.ocr_mask
        with pytest.raises(ValueError, match=r"reads raw frames .* `frame_norms`.* is missing"):
            make_model().fuse(*given)
        with pytest.raises(ValueError, match=r"`frame_norms` must have shape \(3, 4\), got \(3, 1\)"):
            make_model().fuse(*given, frame_norms=features.frame_norms[:, :1])
        for options in ({"temporal_input": "normalised"}, {"temporal_num_layers": 0}):
            fused = make_model(**options).fuse(*given)
            torch.testing.assert_close(fused.coarse_embeds, features.coarse_embeds)  # untrained they are the same

    def test_the_norms_are_those_of_the_projected_frames(self, tiny_model, tiny_inputs):
        features = tiny_model.get_video_features(**video_inputs(tiny_inputs))
        with torch.no_grad():
            frames = tiny_model.backbone.get_image_features(tiny_inputs["pixel_values_videos"].flatten(0, 1))
        raw = features.frame_embeds * features.frame_norms[..., None]
        assert_computed_alike(raw.flatten(0, 1), frames.pooler_output)

    def test_captions_are_ignored_by_a_model_that_does_not_read(self, make_model, tiny_inputs):
        model = make_model(use_ocr=False)
        output = model(**tiny_inputs, return_loss=True)
        without = model(**text_inputs(tiny_inputs), pixel_values_videos=tiny_inputs["pixel_values_videos"])
        assert_computed_alike(output.logits_per_text, without.logits_per_text)
        assert output.text_ocr_similarity is None
        assert output.calibration_loss is None
        assert output.video_features.ocr_embeds is None

    @pytest.mark.parametrize("name", ["pixel_values_videos", "ocr_input_ids", "ocr_mask"])
    def test_wrong_number_of_frames_or_windows(self, tiny_model, tiny_inputs, name):
        inputs = {**video_inputs(tiny_inputs), "ocr_attention_mask": None}
        inputs[name] = inputs[name][:, :3]
        with pytest.raises(ValueError, match=rf"`{name}` must have shape \(.*, 4.*got \(3, 3"):
            tiny_model.get_video_features(**inputs)

    @pytest.mark.parametrize("name", ["pixel_values_videos", "ocr_input_ids"])
    def test_a_single_video_without_its_batch_dimension(self, tiny_model, tiny_inputs, name):
        inputs = video_inputs(tiny_inputs)
        inputs[name] = inputs[name][0]
        with pytest.raises(ValueError, match=f"`{name}`"):
            tiny_model.get_video_features(**inputs)

    def test_loss_needs_both_and_in_pairs(self, tiny_model, tiny_inputs, make_inputs):
        for inputs in (text_inputs(tiny_inputs), video_inputs(tiny_inputs)):
            with pytest.raises(ValueError, match="needs both texts and videos"):
                tiny_model(**inputs, return_loss=True)
        with pytest.raises(ValueError, match="got 2 texts and 3 videos"):
            tiny_model(**make_inputs(num_texts=2, num_videos=3), return_loss=True)


class TestTraining:
    @pytest.mark.parametrize("options", ABLATIONS, ids=name_of)
    def test_every_weight_gets_a_gradient(self, make_model, make_inputs, options):
        model = make_model(randomise=True, fusion_dropout=0.0, **options).train()
        model(**make_inputs(num_texts=4, num_videos=4), return_loss=True).loss.backward()
        missing = {name for name, weight in model.named_parameters() if weight.grad is None}
        asked_by_all = not model.config.use_distillation and model.config.use_cross_attention and model.config.reads_ocr
        # Factorised scores leave out what a softmax does not see.
        biases = {f"distillation.{name}_attention.k_proj.bias" for name in ("video", "ocr")}
        assert missing == (biases if asked_by_all and model.config.text_condition == "after" else set())
        # A bias on keys moves all logits of a softmax alike: its gradient is 0 but for rounding.
        still = [n for n, w in model.named_parameters() if "k_proj.bias" not in n and not w.grad.any()]
        # With random 8-token captions some tokens and places never occur; whole tables do.
        assert not still

    @pytest.mark.parametrize("options", ABLATIONS, ids=name_of)
    def test_no_gradient_is_missing_from_a_neutral_start_nor_without_any_text(self, make_model, tiny_inputs, options):
        # DistributedDataParallel waits for every gradient of every step.
        model = make_model(**options).train()
        inputs = {**tiny_inputs, "ocr_mask": torch.zeros_like(tiny_inputs["ocr_mask"])}
        output = model(**inputs, return_loss=True)
        output.loss.backward()
        assert not [name for name, weight in model.named_parameters() if weight.grad is None]
        assert all(weight.grad.isfinite().all() for weight in model.parameters())

    def test_siglip_trains_all_but_its_logit_bias(self, make_model, tiny_siglip_config, make_inputs):
        model = make_model(backbone_config=tiny_siglip_config, randomise=True).train()
        model(**make_inputs(), return_loss=True).loss.backward()
        assert [n for n, weight in model.named_parameters() if weight.grad is None] == ["backbone.logit_bias"]

    def test_a_few_steps_learn_the_batch(self, make_model, make_inputs):
        model, inputs = make_model(fusion_dropout=0.0).train(), make_inputs(num_texts=4, num_videos=4)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(15):
            optimizer.zero_grad()
            loss = model(**inputs, return_loss=True).contrastive_loss
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.1  # log 4 = 1.39 at chance
        assert logits(model.eval(), inputs).argmax(dim=1).tolist() == [0, 1, 2, 3]

    def test_activation_checkpointing_changes_nothing(self, make_model, tiny_inputs):
        plain = make_model(randomise=True, fusion_dropout=0.0).train()
        checkpointed = copy.deepcopy(plain)
        enable_checkpointing(checkpointed)
        assert any(getattr(module, "gradient_checkpointing", False) for module in checkpointed.modules())
        losses = []
        for model in (plain, checkpointed):
            losses.append(model(**tiny_inputs, return_loss=True).loss)
            losses[-1].backward()
        torch.testing.assert_close(losses[0], losses[1])
        for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, msg=name)

    def test_loss_in_evaluation_mode_equals_training_without_dropout(self, make_model, tiny_inputs):
        model = make_model(randomise=True, fusion_dropout=0.0)
        with torch.no_grad():
            evaluated = model(**tiny_inputs, return_loss=True).loss
            trained = model.train()(**tiny_inputs, return_loss=True).loss
        torch.testing.assert_close(evaluated, trained, atol=1e-5, rtol=1e-5)


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    @pytest.mark.parametrize("options", [{}, {"text_condition": "before"}], ids=name_of)
    def test_half_precision_weights_give_float32_scores(self, make_model, tiny_inputs, dtype, options):
        model = make_model(randomise=True, **options)
        expected = model(**tiny_inputs)
        output = model.to(dtype)(**to_dtype(tiny_inputs, dtype), return_loss=True)
        assert output.text_embeds.dtype == dtype
        for name in ("logits_per_text", "text_hybrid_similarity", "loss", "calibration_loss"):
            assert output[name].dtype == torch.float32
        scale = model.logit_scale.float().exp()
        torch.testing.assert_close(output.logits_per_text / scale, expected.logits_per_text / scale, atol=0.02, rtol=0)

    def test_autocast_gives_float32_scores_close_to_those_without(self, make_model, tiny_inputs):
        model = make_model(randomise=True, fusion_dropout=0.0).train()
        expected = model(**tiny_inputs, return_loss=True)
        with torch.autocast("cpu", torch.bfloat16):
            output = model(**tiny_inputs, return_loss=True)
        for name in ("text_video_similarity", "text_ocr_similarity", "text_hybrid_similarity"):
            assert output[name].dtype == torch.float32
            torch.testing.assert_close(output[name], expected[name], atol=0.02, rtol=0)
        assert output.loss.dtype == torch.float32
        torch.testing.assert_close(output.loss, expected.loss, atol=0.05, rtol=0)
        output.loss.backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())

    def test_autocast_leaves_scoring_alone(self, random_model, tiny_inputs):
        output = random_model(**tiny_inputs)
        plain = random_model.score(output.text_embeds, output.video_features, method="reference")
        with torch.autocast("cpu", torch.bfloat16):
            scores = random_model.score(output.text_embeds, output.video_features, method="reference")
        assert_computed_alike(scores.similarity, plain.similarity, atol=1e-6)  # bfloat16 would be off by 1e-3

    @pytest.mark.parametrize(
        ("method", "backend"),
        [
            ("reference", "eager"),  # one graph, run as it is
            ("factorized", "eager"),
            pytest.param("factorized", "inductor", marks=pytest.mark.slow),
        ],
    )
    def test_scoring_compiles_to_one_graph(self, random_model, tiny_inputs, method, backend):
        skip_unless_outputs_compile()
        with torch.no_grad():
            output = random_model(**tiny_inputs)
            compiled = torch.compile(random_model.score, fullgraph=True, backend=backend)
            scores = compiled(output.text_embeds, output.video_features, method=method)
            expected = random_model.score(output.text_embeds, output.video_features, method=method)
        for part in expected:
            torch.testing.assert_close(scores[part], expected[part], atol=1e-5, rtol=1e-5)


class TestSaving:
    @pytest.mark.parametrize("options", ABLATIONS, ids=name_of)
    def test_twice_there_and_back(self, make_model, tiny_inputs, tmp_path, options):
        model = make_model(randomise=True, **options)
        expected = logits(model, tiny_inputs)
        for step in ("once", "twice"):
            model.save_pretrained(tmp_path / step)
            again, report = TCDModel.from_pretrained(tmp_path / step, output_loading_info=True)
            assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
            assert same_weights(again, model)
            for (name, one), other in zip(model.named_buffers(), again.buffers(), strict=True):
                assert torch.equal(one, other), name  # those that are not saved too
            assert again.logit_scale.dtype == torch.float32
            assert not again.training
            assert_computed_alike(logits(again, tiny_inputs), expected)
            model = again

    def test_the_shared_text_tower_is_saved_once(self, tiny_model, make_model, tmp_path):
        def text_towers(model, folder):
            model.save_pretrained(folder)
            with safe_open(folder / "model.safetensors", "pt") as file:
                return [name for name in file.keys() if name.endswith("token_embedding.weight")]  # noqa: SIM118

        shared = text_towers(tiny_model, tmp_path / "shared")
        assert shared == ["backbone.text_model.embeddings.token_embedding.weight"]
        assert len(text_towers(make_model(share_ocr_encoder=False), tmp_path / "two")) == 2

    def test_a_shared_checkpoint_gives_both_towers_its_weights(self, make_model, tiny_inputs, tmp_path):
        shared = make_model(randomise=True)
        shared.save_pretrained(tmp_path)
        model, info = TCDModel.from_pretrained(tmp_path, share_ocr_encoder=False, output_loading_info=True)
        assert not info["missing_keys"]
        assert model.ocr_encoder is not model.backbone
        torch.testing.assert_close(model(**tiny_inputs).logits_per_text, shared(**tiny_inputs).logits_per_text)

    def test_one_dtype_throughout_after_a_change_and_back(self, random_model, tiny_inputs, tmp_path):
        random_model.save_pretrained(tmp_path / "fp32")
        halved = TCDModel.from_pretrained(tmp_path / "fp32", dtype=torch.bfloat16)
        assert {weight.dtype for weight in halved.parameters()} == {torch.bfloat16}
        halved.save_pretrained(tmp_path / "bf16")
        assert {weight.dtype for weight in TCDModel.from_pretrained(tmp_path / "bf16").parameters()} == {torch.bfloat16}

        raised = TCDModel.from_pretrained(tmp_path / "bf16").float()
        raised.save_pretrained(tmp_path / "again")
        again = TCDModel.from_pretrained(tmp_path / "again")
        assert {weight.dtype for weight in again.parameters()} == {torch.float32}
        assert same_weights(again, raised)
        assert_computed_alike(logits(again, tiny_inputs), logits(raised, tiny_inputs))
        from_config = AutoModel.from_config(again.config)
        assert {weight.dtype for weight in from_config.parameters()} == {torch.float32}

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [("auto", torch.float32), (torch.bfloat16, torch.bfloat16), ("float16", torch.float16)],
        ids=str,
    )
    def test_dtype_asked_for(self, random_model, tiny_inputs, tmp_path, asked, expected):
        random_model.save_pretrained(tmp_path)
        model = TCDModel.from_pretrained(tmp_path, dtype=asked)
        assert {weight.dtype for weight in model.parameters()} == {expected}
        difference = logits(model, to_dtype(tiny_inputs, expected)) - logits(random_model, tiny_inputs)
        assert difference.abs().max() < 0.3  # of logits up to 14

    @pytest.mark.skipif(not importlib.util.find_spec("accelerate"), reason="device_map needs accelerate")
    @pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, "auto"], ids=str)
    def test_device_map(self, random_model, tiny_inputs, tmp_path, device_map):
        random_model.save_pretrained(tmp_path)
        model = TCDModel.from_pretrained(tmp_path, device_map=device_map)
        inputs = {name: value.to(model.device) for name, value in tiny_inputs.items()}
        torch.testing.assert_close(logits(model, inputs).cpu(), logits(random_model, tiny_inputs), atol=1e-4, rtol=0)

    def test_built_on_the_meta_device(self, tiny_config):
        with torch.device("meta"):
            model = TCDModel(tiny_config)
        assert all(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])

    def test_weights_missing_from_a_checkpoint_start_neutral(self, make_model, tiny_inputs, tmp_path):
        plain = {"use_co_attention": False, "use_distillation": False, "use_cross_attention": False}
        make_model(**plain).save_pretrained(tmp_path)
        bare = TCDModel.from_pretrained(tmp_path)
        for options in (
            {"use_co_attention": True},
            {"use_distillation": True},
            {"use_cross_attention": True},
            {"use_co_attention": True, "use_distillation": True, "fusion_num_heads": 2},
        ):
            grown = TCDModel.from_pretrained(tmp_path, **options)
            torch.testing.assert_close(logits(grown, tiny_inputs), logits(bare, tiny_inputs), atol=1e-5, rtol=1e-5)

    def test_auto_classes_know_it(self, random_model, tiny_inputs, tmp_path):
        random_model.save_pretrained(tmp_path)
        model = AutoModel.from_pretrained(tmp_path)
        assert type(model) is TCDModel
        assert same_weights(model, random_model)
        assert_computed_alike(logits(model, tiny_inputs), logits(random_model, tiny_inputs))
        assert type(AutoModel.from_config(random_model.config)) is TCDModel
        assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == {
            "AutoConfig": "configuration_tcd.TCDConfig",
            "AutoModel": "modeling_tcd.TCDModel",
        }

    def test_deep_copies_share_nothing(self, random_model, tiny_inputs):
        clone = copy.deepcopy(random_model)
        assert same_weights(clone, random_model)
        assert_computed_alike(logits(clone, tiny_inputs), logits(random_model, tiny_inputs))
        theirs = {weight.data_ptr() for weight in random_model.parameters()}
        assert not theirs & {weight.data_ptr() for weight in clone.parameters()}

    def test_input_embeddings_can_be_replaced(self, make_model, tiny_inputs):
        model = make_model(randomise=True)
        expected = logits(model, tiny_inputs)
        assert model.get_input_embeddings() is model.backbone.text_model.embeddings.token_embedding
        model.set_input_embeddings(copy.deepcopy(model.get_input_embeddings()))
        assert_computed_alike(logits(model, tiny_inputs), expected)


class TestFromBackbone:
    def backbone(self, config, seed=0):
        torch.manual_seed(seed)
        return AutoModel.from_config(copy.deepcopy(config)).eval()

    def naflex_inputs(self, make_inputs):
        """SigLIP 2 takes patches: here 16 of 4 x 4 pixels at most, in shapes that differ from frame to frame."""
        inputs = make_inputs()
        generator = torch.Generator().manual_seed(0)
        inputs["pixel_values_videos"] = torch.randn(3, NUM_FRAMES, 16, 48, generator=generator)
        shapes = torch.tensor([[4, 4], [2, 8], [3, 5], [2, 4]])
        inputs["spatial_shapes"] = shapes.expand(3, -1, -1).clone()
        inputs["pixel_attention_mask"] = (torch.arange(16) < shapes.prod(dim=1)[:, None]).long().expand(3, -1, -1)
        return inputs

    @pytest.mark.parametrize(
        "fixture", ["tiny_clip_config", "tiny_siglip_config", "tiny_siglip2_config", "tiny_mixed_config"]
    )
    def test_embeds_as_the_backbone_does_and_scores_zero_shot_by_hand(self, request, make_inputs, fixture):
        backbone = self.backbone(request.getfixturevalue(fixture))
        with torch.no_grad():
            backbone.logit_scale.fill_(3.0)
        model = TCDModel.from_backbone(backbone, num_frames=NUM_FRAMES)
        assert not model.training
        extras = ("spatial_shapes", "pixel_attention_mask")
        inputs = self.naflex_inputs(make_inputs) if "siglip2" in fixture else make_inputs()

        with torch.no_grad():
            output = model(**inputs)
            pixels = inputs["pixel_values_videos"].flatten(0, 1)
            options = {name: inputs[name].flatten(0, 1) for name in extras if name in inputs}
            frames = backbone.get_image_features(pixel_values=pixels, **options).pooler_output
            texts = backbone.get_text_features(**text_inputs(inputs)).pooler_output
            windows = backbone.get_text_features(
                input_ids=inputs["ocr_input_ids"].flatten(0, 1),
                attention_mask=inputs["ocr_attention_mask"].flatten(0, 1),
            ).pooler_output
        normalize = torch.nn.functional.normalize
        texts, frames, windows = (normalize(each, dim=-1) for each in (texts, frames, windows))
        features = output.video_features
        assert_computed_alike(output.text_embeds, texts)
        assert_computed_alike(features.frame_embeds.flatten(0, 1), frames)
        assert_computed_alike(features.ocr_embeds.flatten(0, 1), windows)
        assert torch.equal(features.fused_frame_embeds, features.frame_embeds)  # nothing was added to them

        # The mean of three cosines: gated frames, gated windows, and the mean of both.
        sharpness = torch.tensor(3.0).exp() / 5.0
        for i, text in enumerate(texts):
            for j in range(3):
                own_frames, own_windows = frames.view(3, 4, -1)[j], windows.view(3, 4, -1)[j]
                mask = inputs["ocr_mask"][j]
                own_windows = own_windows[mask] if mask.any() else own_windows
                video, ocr = (
                    (len(each) * (sharpness * each @ text).softmax(dim=0)[:, None] * each).mean(dim=0)
                    for each in (own_frames, own_windows)
                )
                cosines = [text @ each / each.norm() for each in (video, ocr, (video + ocr) / 2)]
                similarity = output.logits_per_text[i, j] / torch.tensor(3.0).exp()
                torch.testing.assert_close(similarity, sum(cosines) / 3, atol=1e-5, rtol=0)

    def test_from_a_folder(self, tiny_clip_config, tiny_inputs, tmp_path):
        backbone = self.backbone(tiny_clip_config)
        backbone.save_pretrained(tmp_path)
        model = TCDModel.from_backbone(tmp_path, num_frames=NUM_FRAMES, backbone_kwargs={"local_files_only": True})
        assert same_weights(model.backbone, backbone)
        assert model.config.num_frames == NUM_FRAMES
        halved = TCDModel.from_backbone(str(tmp_path), {"dtype": torch.bfloat16}, num_frames=NUM_FRAMES)
        assert {weight.dtype for weight in halved.parameters()} == {torch.bfloat16}

    def test_keeps_the_attention_implementation(self, tiny_clip_config):
        backbone = CLIPModel._from_config(copy.deepcopy(tiny_clip_config), attn_implementation="eager")
        model = TCDModel.from_backbone(backbone, num_frames=NUM_FRAMES)
        assert model.config._attn_implementation == model.backbone.config._attn_implementation == "eager"

    def test_the_backbone_given_is_copied(self, tiny_clip_config):
        backbone = self.backbone(tiny_clip_config)
        model = TCDModel.from_backbone(backbone, num_frames=NUM_FRAMES)
        assert not {w.data_ptr() for w in backbone.parameters()} & {w.data_ptr() for w in model.parameters()}
        assert model.config.backbone_config is not backbone.config

    @pytest.mark.parametrize(
        "fixture", ["tiny_clip_config", "tiny_siglip_config", "tiny_siglip2_config", "tiny_mixed_config"]
    )
    def test_an_ocr_tower_of_its_own_starts_as_a_copy(self, request, tiny_inputs, tmp_path, fixture):
        backbone = self.backbone(request.getfixturevalue(fixture))
        model = TCDModel.from_backbone(backbone, num_frames=NUM_FRAMES, share_ocr_encoder=False)
        names = [name for name, _ in model.ocr_encoder.named_parameters()]
        assert names and not [name for name in names if "vision" in name or "visual" in name or "logit" in name]
        shared, own = model.backbone.state_dict(), model.ocr_encoder.state_dict()
        assert all(torch.equal(tensor, shared[name]) for name, tensor in own.items())
        assert not {w.data_ptr() for w in model.ocr_encoder.parameters()} & {
            w.data_ptr() for w in model.backbone.parameters()
        }
        with torch.no_grad():
            text = model.get_text_features(**text_inputs(tiny_inputs)).pooler_output
            own = encode_text(model.ocr_encoder, **text_inputs(tiny_inputs)).pooler_output
        assert_computed_alike(text, own)
        model.save_pretrained(tmp_path)
        assert same_weights(TCDModel.from_pretrained(tmp_path), model)

    def test_mistakes(self, tiny_clip_config):
        backbone = self.backbone(tiny_clip_config)
        with pytest.raises(ValueError, match=r"\['num_frame'\] are no fields of TCDConfig"):
            TCDModel.from_backbone(backbone, num_frame=4)
        with pytest.raises(TypeError, match="`backbone_kwargs`"):
            TCDModel.from_backbone(backbone, {"dtype": torch.bfloat16})
        text_tower = CLIPModel(tiny_clip_config).text_model
        with pytest.raises(ValueError, match="no dual encoder"):
            TCDModel.from_backbone(text_tower, num_frames=NUM_FRAMES)

    @pytest.mark.parametrize("fixture", ["tiny_siglip_config", "tiny_siglip2_config", "tiny_mixed_config"])
    def test_other_families_are_saved_and_loaded(self, request, make_model, tmp_path, fixture):
        model = make_model(backbone_config=request.getfixturevalue(fixture), randomise=True)
        model.save_pretrained(tmp_path)
        again = TCDModel.from_pretrained(tmp_path)
        assert type(again.backbone) is type(model.backbone)
        assert same_weights(again, model)

    def test_pixels_take_the_dtype_of_the_weights(self, tiny_mixed_config, make_model, tiny_inputs):
        # CLIP's image tower casts what it is given; ConvNeXt does not.
        model = make_model(backbone_config=tiny_mixed_config).to(torch.bfloat16)
        with torch.no_grad():
            output = model(**tiny_inputs)
        assert output.video_features.frame_embeds.dtype == torch.bfloat16
        assert output.logits_per_text.dtype == torch.float32 and output.logits_per_text.isfinite().all()
