"""transformers' common tests of models and processors, applied to ours.

Not collected here: `test_common_tests.py` puts it beside the common tests of the installed release and runs it there.
"""

import unittest

import numpy as np
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPTokenizer

from tcd_hf import TCDConfig, TCDModel, TCDProcessor

from .test_configuration_common import ConfigTester
from .test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor
from .test_processing_common import ProcessorTesterMixin

HIDDEN, LENGTH, FRAMES, VOCABULARY = 32, 7, 3, 99


class TCDModelTester:
    is_training = True
    batch_size, seq_length = 4, LENGTH
    hidden_size, num_hidden_layers, num_attention_heads = HIDDEN, 2, 4

    def __init__(self, parent: unittest.TestCase):
        self.parent = parent
        self.video_model_tester = TCDVideoTester(self)

    def get_config(self) -> TCDConfig:
        tower = {"hidden_size": HIDDEN, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
        text = {"vocab_size": VOCABULARY, "bos_token_id": 97, "eos_token_id": 98, "max_position_embeddings": 64}
        vision = {"image_size": 16, "patch_size": 8}
        backbone = CLIPConfig(text_config=tower | text, vision_config=tower | vision, projection_dim=16)
        return TCDConfig(backbone_config=backbone.to_dict(), num_frames=FRAMES, fusion_dropout=0.0)

    def prepare_config_and_inputs_for_common(self):
        inputs = {
            "pixel_values_videos": floats_tensor([self.batch_size, FRAMES, 3, 16, 16]),
            "input_ids": ids_tensor([self.batch_size, LENGTH], VOCABULARY - 2),
            "attention_mask": torch.ones(self.batch_size, LENGTH, dtype=torch.long),
            "ocr_input_ids": ids_tensor([self.batch_size, FRAMES, LENGTH], VOCABULARY - 20),  # a smaller one has these
            "ocr_attention_mask": torch.ones(self.batch_size, FRAMES, LENGTH, dtype=torch.long),
            "ocr_mask": torch.ones(self.batch_size, FRAMES, dtype=torch.bool),
        }
        inputs["input_ids"][:, -1] = VOCABULARY - 1  # CLIP reads the text at its end token
        return self.get_config(), inputs


class TCDVideoTester:
    """The inputs of `get_video_features`: a model that reads OCR takes captions beside pixels."""

    def __init__(self, whole: TCDModelTester):
        self.whole = whole

    def prepare_config_and_inputs_for_common(self):
        config, inputs = self.whole.prepare_config_and_inputs_for_common()
        return config, {name: value for name, value in inputs.items() if "ocr" in name or "video" in name}


def differs(reason: str):
    """A common test that asks for what our models are not meant to be."""
    return unittest.skip(f"differs: {reason}")


COMPOSITE = "those of the towers are in `text_model_output` and `video_features`; the test of CLIP skips this as well"


class TCDModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (TCDModel,)
    has_attentions = False  # those of a tower are in its output

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels)
        return {**inputs, "return_loss": True} if return_labels else inputs

    @differs(COMPOSITE)
    def test_hidden_states_output(self): ...

    @differs(COMPOSITE)
    def test_retain_grad_hidden_states_attentions(self): ...

    def setUp(self):
        self.model_tester = TCDModelTester(self)
        self.config_tester = ConfigTester(self, config_class=TCDConfig, has_text_modality=False)

    @differs("recording is set in the configurations of the towers, one level below the one where the test sets it")
    def test_get_text_features_hidden_states(self): ...

    @differs("the features of a video are its frames and captions, `TCDVideoFeatures`, and not those of one tower")
    def test_get_video_features_hidden_states(self): ...

    test_get_video_features_output_0 = test_get_video_features_output_2 = test_get_video_features_hidden_states

    def test_config(self):
        self.config_tester.run_common_tests()


class TCDProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = TCDProcessor

    @classmethod
    def _setup_tokenizer(cls):
        letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:-"
        tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77)

    @classmethod
    def _setup_image_processor(cls):
        return CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})

    @staticmethod
    def prepare_processor_dict():
        return {"num_frames": FRAMES, "ocr_engine": None}

    @differs("the image processor is for the frames of videos: there is no `images`")
    def test_processor_with_multiple_inputs(self): ...

    test_doubly_passed_kwargs_0_images = test_kwargs_overrides_default_subprocessor_kwargs_0_images = (
        test_overlapping_text_image_kwargs_handling_0_images
    ) = test_structured_kwargs_nested_from_dict_0_images = test_subprocessor_defaults_preserved_by_kwargs_0_images = (
        test_unstructured_kwargs_0_images
    ) = test_unstructured_kwargs_batched_0_images = test_processor_with_multiple_inputs

    @differs("`num_frames` and `max_length` are saved with a processor, and can be told a call as well")
    def test_init_arguments_not_in_processor_kwargs(self): ...

    @differs("tensors are the default of `return_tensors`")
    def test_subprocessor_defaults_0_text(self): ...

    def prepare_videos_inputs(self, *args, **kwargs):
        return [np.random.default_rng(0).integers(0, 255, (8, 30, 40, 3), dtype=np.uint8)]
