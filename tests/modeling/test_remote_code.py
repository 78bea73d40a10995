"""A saved folder works with `trust_remote_code=True` where tcd_hf is not installed, and can be saved again there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ConvNextImageProcessor

from tcd_hf import TCDModel, TCDProcessor
from tests.conftest import assert_computed_alike, randomise_fusion
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.towers import make_tower, word_tokenizer

# Runs in a process of its own. Hides packages by name, so that it does not matter whether they are installed.
LOADER = """
import json, sys
from pathlib import Path

folder, hidden = Path(sys.argv[1]), json.loads(sys.argv[2])
sys.modules.update(dict.fromkeys(hidden))  # None: importing it raises ModuleNotFoundError
try:
    import tcd_hf
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("tcd_hf can be imported")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoProcessor

def logits(path, inputs):
    model = AutoModel.from_pretrained(path, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    assert not model.training
    return model, model(**inputs).logits_per_text.detach()

config = AutoConfig.from_pretrained(folder / "saved", trust_remote_code=True)
assert type(config).__name__ == "TCDConfig" and config.model_type == "tcd" and config.num_frames == 4
inputs = load_file(folder / "inputs.safetensors")
model, first = logits(folder / "saved", inputs)
model.save_pretrained(folder / "again")
again, second = logits(folder / "again", inputs)
built = AutoModel.from_config(config, trust_remote_code=True)
assert built.state_dict().keys() == model.state_dict().keys()
assert built.coarse_projection.weight.equal(torch.eye(config.projection_dim))  # it starts neutral there too
encoder, layer = built.temporal_encoder, built.temporal_encoder.layers[0]
for weight in (encoder.position_embedding, layer.mlp_out.weight, layer.attention.out_proj.weight):
    assert not weight.any()
outputs = {"first": first, "second": second}

import numpy as np

frames = np.arange(8 * 20 * 24 * 3, dtype=np.uint8).reshape(8, 20, 24, 3)
captions = [["open", "", "the end", "open"]]
for name, path in (("processed", "saved"), ("processed_again", "again")):
    processor = AutoProcessor.from_pretrained(folder / path, trust_remote_code=True)
    assert type(processor).__module__.startswith("transformers_modules."), type(processor)
    batch = processor(text=["open", "the"], videos=[frames], ocr_captions=captions, fps=4.0, return_tensors="pt")
    outputs[name] = again(**batch).logits_per_text.detach()
    processor.save_pretrained(folder / "again")

assert all(sys.modules[name] is None for name in hidden)
save_file({name: tensor.contiguous() for name, tensor in outputs.items()}, folder / "outputs.safetensors")
"""
OPTIONAL = ["decord", "av", "rapidocr", "onnxruntime", "doctr", "rapidfuzz"]
MODELING = Path(__file__).resolve().parents[2] / "modeling"


def load_elsewhere(folder: Path, inputs: dict[str, torch.Tensor], hidden: list[str]) -> dict[str, torch.Tensor]:
    """Outputs of the model saved in `folder / "saved"` in a process that knows nothing of this repository."""
    save_file(inputs, folder / "inputs.safetensors")
    (folder / "elsewhere").mkdir()
    (folder / "load.py").write_text(LOADER)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(folder / "modules"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(folder / "load.py"), str(folder), json.dumps(["tcd_hf", *hidden])]
    done = subprocess.run(
        command, cwd=folder / "elsewhere", env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return load_file(folder / "outputs.safetensors")


def make_pair(two_towers: bool = False, **options) -> tuple[TCDModel, TCDProcessor]:
    """A tiny model and its processor: CLIP's, or those of a sentence encoder beside an image encoder."""
    if not two_towers:
        return make_tiny_model(**options), make_tiny_processor()
    torch.manual_seed(0)
    model = TCDModel.from_backbone(text=make_tower("BERT"), image=make_tower("ConvNeXt"), **options)
    prefixes = {"query_prefix": "query : ", "caption_prefix": "passage : "}
    image_processor = ConvNextImageProcessor(size={"shortest_edge": 16})
    return model, TCDProcessor(image_processor, word_tokenizer(), num_frames=4, ocr_engine=None, **prefixes)


TCD = {"share_ocr_encoder": False, "fusion_num_heads": 2}
TIB = {"interaction": "tib", "use_patch_features": True}
TOWERS = {"two_towers": True, "num_frames": 4, "share_ocr_encoder": False}


@pytest.mark.parametrize(
    ("options", "hidden"),
    [
        pytest.param(TCD, [], id="all packages", marks=pytest.mark.slow),
        pytest.param(TCD, OPTIONAL, id="optional packages hidden"),
        pytest.param(TIB, OPTIONAL, id="coarse to fine"),
        pytest.param(TOWERS, OPTIONAL, id="two towers"),
    ],
)
def test_the_trio_gives_the_same_logits_without_the_package(tmp_path, options, hidden):
    model, processor = make_pair(**options)
    randomise_fusion(model)
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    frames = np.arange(8 * 20 * 24 * 3, dtype=np.uint8).reshape(8, 20, 24, 3)
    captions = [["open", "", "the end", "open"]]
    inputs = processor(text=["open", "the"], videos=[frames], ocr_captions=captions, fps=4.0, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits_per_text

    outputs = load_elsewhere(tmp_path, dict(inputs), hidden)
    for name, found in outputs.items():
        assert_computed_alike(found, expected, msg=name)
    assert outputs.keys() == {"first", "second", "processed", "processed_again"}
    saved, again = ({file.name for file in (tmp_path / each).glob("*")} for each in ("saved", "again"))
    assert saved == again
    sources = {file.name for file in MODELING.glob("*.py")} - {"__init__.py"}
    assert sources | {"processing_tcd.py", "window_ocr.py"} <= saved
