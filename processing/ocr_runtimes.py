"""Runtimes that compute what the models of the built-in OCR engine say, and which of them a machine takes."""

import functools
import importlib
import importlib.util
from typing import Any

__all__ = ["RUNTIMES", "available_runtimes", "checked_runtime", "chosen_runtime", "runtime_params"]

RUNTIMES = ("onnxruntime", "openvino")


def available_runtimes() -> list[str]:
    """The runtimes that are installed."""
    return [name for name in RUNTIMES if importlib.util.find_spec(name) is not None]


def checked_runtime(runtime: str | None) -> str | None:
    """The option of that name; a ValueError where it is neither `None` nor a runtime's name."""
    if runtime is not None and runtime not in RUNTIMES:
        raise ValueError(f"runtime must be None, {' or '.join(map(repr, RUNTIMES))}, got {runtime!r}.")
    return runtime


def chosen_runtime(runtime: str | None) -> str:
    """The runtime that is asked for, or else the one that suits this machine."""
    if runtime is not None:
        return runtime
    return "openvino" if _openvino_pays() else "onnxruntime"


@functools.lru_cache(maxsize=1)
def _openvino_pays() -> bool:
    """Whether OpenVINO is installed and computes in bfloat16 here; in float32 it is no faster than onnxruntime."""
    if "openvino" not in available_runtimes():
        return False
    core = importlib.import_module("openvino").Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


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
