"""The values that options may have, and defaults that several doors share. Imports nothing, for the command line."""

from typing import Literal

__all__ = [
    "DEFAULT_FEATURE_TYPE",
    "DEFAULT_LEXICAL_WEIGHT",
    "DEFAULT_MOMENTS",
    "DEFAULT_WITHIN",
    "FUSED_MODES",
    "WEAK_BELOW",
    "CheckpointFormat",
    "Engine",
    "EvaluationMode",
    "FeatureType",
    "OcrPreset",
    "QuerySyntax",
    "ScoreNormalisation",
    "SearchMode",
    "TextFormat",
]

SearchMode = Literal["two-stage", "full", "coarse", "lexical"]  # of VideoIndex.search
CheckpointFormat = Literal["eercf", "clip4clip", "xclip"]  # of import_checkpoint
EvaluationMode = Literal["full", "two-stage", "coarse"]  # of evaluate_model
ScoreNormalisation = Literal["dual-softmax", "qb-norm"]  # of evaluate_model
QuerySyntax = Literal["plain", "query"]  # of VideoIndex.search
FeatureType = Literal["int8", "float16"]  # of an index: how the numbers of features are kept
Engine = Literal["local", "ray"]  # of VideoIndex.add
OcrPreset = Literal["fast", "balanced", "thorough"]  # of processing.ocr_presets
TextFormat = Literal["srt", "vtt", "csv", "json"]  # of write_cues

DEFAULT_FEATURE_TYPE: FeatureType = "int8"  # of a new index
DEFAULT_LEXICAL_WEIGHT = 0.5  # of the search score
DEFAULT_MOMENTS = 3  # of a hit, besides its best
DEFAULT_WITHIN = 60.0  # seconds from the end of a moment to the begin of the next, at most
FUSED_MODES: tuple[SearchMode, ...] = ("two-stage", "full")  # whose hits are ranked by the search score
WEAK_BELOW = 0.1  # calibrated score of a hit: below it fewer than one in ten is what was asked for
