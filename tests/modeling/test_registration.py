"""The Auto classes know TCD whoever is imported first, and `import tcd_hf` costs next to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tcd_hf

ROOT = Path(__file__).resolve().parents[2]


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


# What takes long is imported once; each order then runs in a fork of its own, where neither transformers' Auto classes
# nor tcd_hf have been imported.
IN_FORKS = """
import os, sys, traceback
import torch, torch._dynamo, torchvision, transformers

auto = [f"transformers.models.auto.{kind}_" for kind in ("configuration", "modeling", "processing")]
assert not [name for name in sys.modules if name.startswith((*auto, "tcd_hf"))]

def forked(code):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            exec(code, {})
            status = 0
        except BaseException:
            traceback.print_exc()
            status = 1
        sys.stderr.flush()
        os._exit(status)
    return os.waitpid(child, 0)[1]

failed = [code for code in ORDERS if forked(code)]
assert not failed, failed
"""

KNOWN = """
assert type(AutoConfig.for_model("tcd")).__module__ == "tcd_hf.modeling.configuration_tcd"
from transformers.models.auto.modeling_auto import MODEL_MAPPING
assert MODEL_MAPPING[type(AutoConfig.for_model("tcd"))].__name__ == "TCDModel"
"""
ORDERS = [
    "import tcd_hf\nfrom transformers import AutoConfig",
    "from transformers import AutoConfig\nimport tcd_hf",
    "import tcd_hf\nfrom transformers import AutoModel\nfrom transformers import AutoConfig",
    "from transformers import AutoModel, AutoConfig\nimport tcd_hf",
    "from tcd_hf import TCDConfig\nfrom transformers import AutoModel, AutoConfig",
    "from tcd_hf import TCDModel\nfrom transformers import AutoConfig",
    "from transformers import AutoConfig\nfrom tcd_hf import TCDModel",
]
MODULES = sorted(path.stem for path in (ROOT / "modeling").glob("[a-z]*.py"))
ORDERS += [f"import tcd_hf.modeling.{name}\nfrom transformers import AutoConfig" for name in MODULES]
ORDERS += ["import tcd_hf.index.meant\nfrom transformers import AutoConfig"]
PROCESSORS = """
from transformers import AutoConfig
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
assert PROCESSOR_MAPPING[type(AutoConfig.for_model("tcd"))].__name__ == "TCDProcessor"
"""
PROCESSOR_ORDERS = [
    "from transformers import AutoProcessor\nimport tcd_hf",
    "from transformers import pipeline, Trainer, AutoProcessor\nimport tcd_hf",
    "import tcd_hf\nfrom transformers import pipeline, Trainer, AutoProcessor",
    "from tcd_hf import TCDProcessor",
]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_order_of_imports():
    orders = [order + KNOWN for order in ORDERS] + [order + PROCESSORS for order in PROCESSOR_ORDERS]
    run(f"ORDERS = {orders!r}\n{IN_FORKS}")


def test_importing_the_package_imports_nothing_heavy():
    heavy = "torch", "transformers", "numpy", "decord", "av", "rapidocr", "onnxruntime", "doctr", "cv2", "PIL"
    assert run(f"import sys, tcd_hf; print([name for name in {heavy!r} if name in sys.modules])").strip() == "[]"


def test_public_names_resolve():
    names = (
        "TCDConfig",
        "TCDModel",
        "TCDProcessor",
        "WindowOCRCaptioner",
        "load",
        "load_mini",
        "compute_retrieval_metrics",
    )
    assert set(names) <= set(tcd_hf.__all__) & set(dir(tcd_hf))
    assert [getattr(tcd_hf, name).__name__ for name in names] == list(names)
