"""The card of the package's checkpoint: its figures are those of the logs."""

import json

import pytest

from scripts.train_mini.card import KINDS, main, make_card
from tcd_hf.checkpoints import MINI

MEANING = {"meaning: signs": 0.25, "meaning: dictionary": 0.125}


def validated(step: int, spelling: float, **entry) -> dict:
    return {"step": step, "all": spelling, "sum": spelling, **dict.fromkeys(KINDS, spelling), **MEANING, **entry}


@pytest.fixture
def checkpoint(tmp_path):
    """The files of a checkpoint that a card is made of."""
    first = {"phase": "start", "vocabulary": 12345, "parameters": 21_600_000, "distillation": 4.0}
    fused = {"text": 0.9, "visual": 0.1, "both": 0.8, "temporal": 0.7, "text pairs": 0.62, "seconds": 90}
    logs = {
        "text": [first, validated(0, 0.3), validated(80, 0.81), validated(160, 0.7, seconds=600)],
        "text_second": [{**first, "distillation": 0.5}, validated(0, 0.3), validated(90, 0.82, seconds=720)],
        "text_mean": [validated(0, 0.83, reach=1.0)],
        "text_alone": [first, validated(0, 0.3), validated(40, 0.55)],
        "image": [{"step": 700, "patch_color": 0.957, "patch_shape": 0.9, "seconds": 480}],
        "fusion": [{"all queries": 0.5, **fused}, {"step": 1500}, {"all queries": 0.6, "share": 0.4, **fused}],
    }
    for name, lines in logs.items():
        text = "\n".join(json.dumps(line) for line in lines)
        (tmp_path / f"training_log_{name}.jsonl").write_text(text, encoding="utf-8")
    metrics = {kind: {"t2v": {"R@1": 0.651}} for kind in ("all queries", "text", "visual", "both", "temporal")}
    (tmp_path / "world.json").write_text(json.dumps({"results": metrics}), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(bytes(150_000))
    return tmp_path


def test_figures_are_those_of_the_logs(checkpoint):
    card = make_card(checkpoint)
    for line in (
        "12,345 word pieces and bytes | 21.6 M |",
        "float16, 0.1 MB;",
        "pairs, step 80 and 90. The tower is the mean of both",
        "--output build/text-2 --distillation 0.5 --batches 1000",
        "Training took 10, 12, 8 and 2 minutes",
        "| all | 0.300 | 0.810 | 0.820 | 0.830 |",
        "| other script | 0.300 | 0.810 | 0.820 | 0.830 |",
        "| signs | 0.250 | 0.250 | 0.250 | 0.250 |",
        "| step | spelling, with distillation | spelling, without | signs, with distillation |",
        "| 0 | 0.300 | 0.300 | 0.250 | 0.250 | 0.125 | 0.125 |",
        "| 40 |  | 0.550 |  | 0.250 |  | 0.125 |",
        "The run without it (`--distillation 0`) had 40 steps in all.",
        "(share 0.4)",
        "thing right in 96 %, shape in 90 %",
        "| test, 1,000 clips (`tcd-hf evaluate`) | 0.651 | 0.651 | 0.651 | 0.651 | 0.651 |",
        "| validation, 400 clips, before its fusion was trained | 0.500 | 0.900 | 0.100 | 0.800 | 0.700 |",
        "| validation, 400 clips | 0.600 | 0.900 | 0.100 | 0.800 | 0.700 |",
    ):
        assert line in card, line
    assert "$" not in card


def test_what_was_not_measured_is_left_out(checkpoint):
    (checkpoint / "training_log_text_alone.jsonl").unlink()
    (checkpoint / "world.json").unlink()
    card = make_card(checkpoint)
    assert "without |" not in card and "1,000 clips" not in card
    assert "| 80 | 0.810 | 0.250 | 0.125 |" in card


def test_written_beside_the_logs(checkpoint):
    assert main([str(checkpoint)]) == 0
    assert (checkpoint / "README.md").read_text(encoding="utf-8") == make_card(checkpoint)


def test_the_card_of_the_checkpoint_is_what_its_logs_say():
    assert (MINI / "README.md").read_text(encoding="utf-8") == make_card(MINI)
