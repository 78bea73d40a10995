"""Runtimes that compute what the models of the built-in OCR engine say.

onnxruntime in float32 is taken unless another one is asked for: the others are faster, and each finds other texts.
"""

import functools
import importlib
import importlib.util
from typing import Any

__all__ = ["INT8", "RUNTIMES", "available_runtimes", "checked_runtime", "multiplies_int8", "runtime_params"]

INT8 = "onnxruntime-int8"  # the detector alone: see `int8_detector`
RUNTIMES = {"onnxruntime": "onnxruntime", INT8: "onnx", "openvino": "openvino"}  # and the package that each needs


def available_runtimes() -> list[str]:
    """The runtimes that are installed, and that this processor has the instructions for."""
    installed = [name for name, package in RUNTIMES.items() if importlib.util.find_spec(package) is not None]
    return [name for name in installed if name != INT8 or multiplies_int8()]


def checked_runtime(runtime: str | None) -> str:
    """The option of that name, where it is not given `"onnxruntime"`.

    Raises:
        ValueError: it is no runtime's name.
    """
    if runtime is None:
        return next(iter(RUNTIMES))
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be None or one of {', '.join(map(repr, RUNTIMES))}, got {runtime!r}.")
    return runtime


@functools.lru_cache(maxsize=1)
def multiplies_int8() -> bool:
    """Whether the processor has VNNI, without which products of int8 are neither exact nor fast. `False` if unknown."""
    capabilities = getattr(importlib.import_module("torch").cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_vnni") or capabilities.get("avx_vnni"))


def runtime_params(runtime: str, num_threads: int) -> dict[str, Any]:
    """Parameters of `rapidocr.RapidOCR` that run its models so."""
    engines = importlib.import_module("rapidocr").EngineType
    engine = engines.OPENVINO if runtime == "openvino" else engines.ONNXRUNTIME
    return {
        "Det.engine_type": engine,
        "Rec.engine_type": engine,
        "EngineConfig.onnxruntime.intra_op_num_threads": num_threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "EngineConfig.openvino.inference_num_threads": num_threads,
        "EngineConfig.openvino.num_streams": 1,
    }
