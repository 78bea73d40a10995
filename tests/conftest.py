"""Tiny backbones, configurations, models and inputs: seconds matter, weights do not."""

import copy
import os
import sys
from dataclasses import dataclass
from types import ModuleType

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything of the Hub is imported: no test needs a network

import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPTextConfig,
    ConvNextConfig,
    Siglip2Config,
    SiglipConfig,
    VisionTextDualEncoderConfig,
)
from transformers.utils import ModelOutput

from tcd_hf.modeling import scoring
from tcd_hf.modeling.configuration_tcd import TCDConfig
from tcd_hf.modeling.factorized_scoring import FactorizedScorer
from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.modeling.pair_scorer import PairScorer
from tests.clips import usual_priority

# Tensors are too small to share among threads; and sums over threads round differently from run to run.
torch.set_num_threads(1)

NUM_FRAMES = 4
VOCAB_SIZE, END_OF_TEXT = 64, 63
TOWER = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT_TOWER = {
    **TOWER,
    "vocab_size": VOCAB_SIZE,
    "max_position_embeddings": 16,
    "bos_token_id": 62,
    "eos_token_id": END_OF_TEXT,
    "pad_token_id": 1,
}


@pytest.fixture(autouse=True)
def same_priority():
    """A test that encodes video by another way than `write_clip` leaves the later ones their turns, too."""
    with usual_priority():
        yield


@pytest.fixture(scope="session")
def tiny_clip_config() -> CLIPConfig:
    return CLIPConfig(
        text_config=TEXT_TOWER,
        vision_config={**TOWER, "image_size": 16, "patch_size": 8},
        projection_dim=16,
    )


@pytest.fixture(scope="session")
def tiny_siglip_config() -> SiglipConfig:
    return SiglipConfig(text_config=TEXT_TOWER, vision_config={**TOWER, "image_size": 16, "patch_size": 8})


@pytest.fixture(scope="session")
def tiny_siglip2_config() -> Siglip2Config:
    """SigLIP 2 as "NaFlex": images come as patches, with their mask and shape."""
    return Siglip2Config(text_config=TEXT_TOWER, vision_config={**TOWER, "patch_size": 4, "num_patches": 16})


@pytest.fixture(scope="session")
def tiny_mixed_config() -> VisionTextDualEncoderConfig:
    """Towers of two families, as in the package's checkpoint: an image tower without attention, CLIP's text tower."""
    vision = ConvNextConfig(hidden_sizes=[8, 32], depths=[1, 1], num_stages=2, image_size=16, hidden_size=32)
    text = CLIPTextConfig(**TEXT_TOWER)
    return VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=16)


@pytest.fixture(scope="session")
def tiny_config(tiny_clip_config) -> TCDConfig:
    return TCDConfig(backbone_config=tiny_clip_config.to_dict(), num_frames=NUM_FRAMES)


@pytest.fixture(scope="session")
def make_model(tiny_clip_config):
    """`make_model(seed=0, randomise=False, **config)`: a new tiny CLIP-based model in evaluation mode."""

    def make(seed: int = 0, randomise: bool = False, backbone_config=tiny_clip_config, **config) -> TCDModel:
        torch.manual_seed(seed)
        config = {"num_frames": NUM_FRAMES, **config}
        model = TCDModel(TCDConfig(backbone_config=copy.deepcopy(backbone_config).to_dict(), **config)).eval()
        return randomise_fusion(model, seed) if randomise else model

    return make


@pytest.fixture(scope="session")
def tiny_model(make_model) -> TCDModel:
    """An untrained model: its fusion is neutral. Shared by all tests: `deepcopy` it before changing it."""
    return make_model()


@pytest.fixture(scope="session")
def random_model(make_model) -> TCDModel:
    """As [`tiny_model`], but no weight of its fusion is neutral, as in a trained one. `deepcopy` before changing it."""
    return make_model(randomise=True)


@pytest.fixture(scope="session")
def make_inputs():
    """`make_inputs(num_texts=3, num_videos=3, seed=0)`: inputs of a tiny CLIP-based model, see [`clip_inputs`]."""
    return clip_inputs


@pytest.fixture(scope="session")
def tiny_inputs() -> dict[str, torch.Tensor]:
    """Inputs of 3 texts and 3 videos."""
    return clip_inputs()


@pytest.fixture
def no_decord(monkeypatch):
    """A decord that fails the test that asks it for anything, as one would that ends the process."""

    class Decord(ModuleType):
        @property
        def logging(self):  # what a reader asks first
            pytest.fail("decord was asked to read")

    monkeypatch.setitem(sys.modules, "decord", Decord("decord"))


def randomise_fusion(model: TCDModel, seed: int = 0) -> TCDModel:
    """Gives every weight outside the backbone a value that is neither zero nor neutral."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(("backbone.", "ocr_backbone.")):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def random_texts(*shape: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask `(*shape, 8)`; texts of 3 to 8 tokens, the last one the end of text."""
    ids = torch.randint(2, 60, (*shape, 8), generator=generator)
    lengths = torch.randint(3, 9, (*shape, 1), generator=generator)
    places = torch.arange(8)
    ids = ids.where(places < lengths - 1, torch.tensor(END_OF_TEXT)).where(places < lengths, torch.tensor(1))
    return ids, (places < lengths).long()


def clip_inputs(num_texts: int = 3, num_videos: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """
    Random texts and videos. The first video has text in every window, the last one has none (if there are several),
    the others have some.
    """
    generator = torch.Generator().manual_seed(seed)
    input_ids, attention_mask = random_texts(num_texts, generator=generator)
    ocr_input_ids, ocr_attention_mask = random_texts(num_videos, NUM_FRAMES, generator=generator)
    ocr_mask = torch.rand(num_videos, NUM_FRAMES, generator=generator) < 0.6
    ocr_mask[:, 1:3] = True
    ocr_mask[-1] = False
    ocr_mask[:1] = True
    ocr_input_ids[~ocr_mask] = torch.tensor([62, END_OF_TEXT, 1, 1, 1, 1, 1, 1])
    ocr_attention_mask[~ocr_mask] = torch.tensor([1, 1, 0, 0, 0, 0, 0, 0])
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "pixel_values_videos": torch.randn(num_videos, NUM_FRAMES, 3, 16, 16, generator=generator),
        "ocr_input_ids": ocr_input_ids,
        "ocr_attention_mask": ocr_attention_mask,
        "ocr_mask": ocr_mask,
    }


def norms_like(frame_embeds: torch.Tensor) -> torch.Tensor:
    """Norms that frames may have had, `(batch_size, num_frames)`: 10, about those of CLIP's, and others near it."""
    generator = torch.Generator().manual_seed(0)
    return 10 + torch.randn(frame_embeds.shape[:2], generator=generator)


def assert_computed_alike(found, expected, atol: float = 1e-5, rtol: float = 1e-5, msg: str | None = None) -> None:
    """
    The same numbers, computed twice in float32. They need not be equal to the last bit: in which order a kernel adds up
    depends on the processor, on the release of torch, and on where in memory a tensor happens to lie, as do the weights
    of a model that was loaded. What is copied is equal: compare it by `torch.equal`.

    Args:
        found, expected: tensors, or sequences or mappings of tensors.
        atol, rtol: for logits, which reach 14 in a tiny model, and for unit vectors.
        msg: what the numbers are, for the message.
    """
    torch.testing.assert_close(found, expected, atol=atol, rtol=rtol, msg=msg and (lambda found: f"{msg}: {found}"))


def bound_blocks(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    """Lets no tensor of a block of pairs or videos have more elements, whatever scores them."""
    for scorer in (PairScorer, FactorizedScorer):
        monkeypatch.setattr(scorer, "block_elements", elements)
    monkeypatch.setattr(scoring, "VIDEO_ELEMENTS", elements)


def enable_checkpointing(model):
    """`activation_checkpointing_enable` of transformers, which older releases know by another name."""
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()


@dataclass
class _Doubled(ModelOutput):
    value: torch.Tensor | None = None

    def double(self) -> "_Doubled":
        return _Doubled(value=2 * self.value)


def skip_unless_outputs_compile() -> None:
    """Skips a test of `torch.compile` where torch traces no methods of a `ModelOutput`, as older releases do not."""
    torch._dynamo.reset()
    try:
        torch.compile(lambda output: output.double(), fullgraph=True, backend="eager")(_Doubled(value=torch.ones(1)))
    except torch._dynamo.exc.Unsupported:
        pytest.skip("this release of torch compiles no methods of a ModelOutput")
    finally:
        torch._dynamo.reset()
