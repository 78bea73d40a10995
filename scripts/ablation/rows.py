"""The rows of the ablation: which model each trains, and what it reads."""

from dataclasses import dataclass, field

from scripts.frozen_towers.features import USUAL, Reading

__all__ = ["BASE", "FULL", "ROWS", "Row", "readings_of"]


@dataclass(frozen=True)
class Row:
    """
    Attributes:
        title: what the table calls it.
        overrides: fields of `TCDConfig` beside those of `BASE`.
        reading: of the captions.
        isolated: single readings as tokens in place of captions (`IsolatedTokenModel`).
        coarse: rank by the coarse vector alone, too.
        drift: windows by which the texts of a clip come late or early, at most: another number of each clip.
    """

    title: str
    overrides: dict = field(default_factory=dict)
    reading: Reading = USUAL
    isolated: bool = False
    coarse: bool = False
    drift: int = 0


# Without dropout training scores by the factorised scorer. Temporal layers touch nothing but TCD's coarse vector.
BASE = {"fusion_dropout": 0.0, "temporal_num_layers": 0}
FULL = "tcd"
GATE_ALONE = {
    "use_co_attention": False,
    "use_distillation": False,
    "use_cross_attention": False,
    "use_calibration": False,
}
SOFT_HSC = {"calibration_temperature": 0.1}  # far above the spread of the cosines within a video
BEFORE_VERSION_2 = {"temporal_input": "normalised", "temporal_activation": "gelu", "temporal_layer_norm_eps": 1e-5}
ROWS = {
    FULL: Row("all of TCD", coarse=True),
    "no-hsc": Row("without L_hsc", {"use_calibration": False}),
    "soft-hsc": Row("L_hsc with τ_c = 0.1", SOFT_HSC),
    "no-co-attention": Row("without co-attention", {"use_co_attention": False}),
    "cross-attention": Row("cross-attention in CTCD's place", {"use_distillation": False}),
    **{
        f"gate-{tau:g}": Row(f"text condition only, τ = {tau:g}", {**GATE_ALONE, "text_condition_temperature": tau})
        for tau in (0.1, 1.0, 5.0, 10.0)
    },
    "before": Row("text condition before the co-attention", {"text_condition": "before"}),
    # Clips of this world change on eighths of a second: .6 reads what .4 does, .8 what 1 does, and .2 what the usual
    # two looks a second do, one in the middle of each window.
    "scale-0.4": Row("window scale ξ = 0.4 (and 0.6), 8 looks a second", reading=Reading(0.4, 8.0)),
    "scale-1": Row("window scale ξ = 1 (and 0.8), 8 looks a second", reading=Reading(1.0, 8.0)),
    "no-ocr": Row("no OCR", {"use_ocr": False}),
    "isolated": Row("OCR as isolated tokens, one video token", GATE_ALONE, isolated=True),
    "temporal": Row("4 temporal layers, raw frames", {"temporal_num_layers": 4}, coarse=True),
    "temporal-unit": Row(
        "4 temporal layers, frames of length 1", {"temporal_num_layers": 4, **BEFORE_VERSION_2}, coarse=True
    ),
    "drift": Row("all of TCD, texts up to 1 s late or early", drift=2),
    "drift-no-hsc": Row("the same without L_hsc", {"use_calibration": False}, drift=2),
    "drift-soft-hsc": Row("the same, L_hsc with τ_c = 0.1", SOFT_HSC, drift=2),
    "drift-before": Row("the same, text condition before the co-attention", {"text_condition": "before"}, drift=2),
    "eercf": Row("EERCF (text-gated frames, no OCR)", {"interaction": "tib", "temporal_num_layers": 4}),
}


def readings_of(rows) -> list[Reading]:
    """What these rows read, each way once, and the usual one in any case."""
    return list(dict.fromkeys([USUAL, *(ROWS[name].reading for name in rows)]))
