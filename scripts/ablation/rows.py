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
    """

    title: str
    overrides: dict = field(default_factory=dict)
    reading: Reading = USUAL
    isolated: bool = False


# Without dropout training scores by the factorised scorer. Temporal layers touch nothing but TCD's coarse vector.
BASE = {"fusion_dropout": 0.0, "temporal_num_layers": 0}
FULL = "tcd"
GATE_ALONE = {
    "use_co_attention": False,
    "use_distillation": False,
    "use_cross_attention": False,
    "use_calibration": False,
}
ROWS = {
    FULL: Row("all of TCD"),
    "no-hsc": Row("without L_hsc", {"use_calibration": False}),
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
    "eercf": Row("EERCF (text-gated frames, no OCR)", {"interaction": "tib", "temporal_num_layers": 4}),
}


def readings_of(rows) -> list[Reading]:
    """What these rows read, each way once, and the usual one in any case."""
    return list(dict.fromkeys([USUAL, *(ROWS[name].reading for name in rows)]))
