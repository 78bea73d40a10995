"""The model trains, and is evaluated, under `transformers.Trainer`."""

import pytest
import torch
from transformers import Trainer, TrainingArguments

from tcd_hf.modeling.modeling_tcd import TCDModel
from tcd_hf.training.batching import PairCollator
from tests.tcd_hf.conftest import make_tiny_model, make_tiny_processor
from tests.tcd_hf.training_data import make_split


@pytest.fixture(scope="module")
def pairs():
    return make_split(8).map(lambda row: {"caption": row["captions"][0]})


@pytest.mark.parametrize("interaction", ["tcd", "tib"])
def test_trainer_trains_and_evaluates(pairs, tmp_path, interaction):
    model, collator = make_tiny_model(interaction=interaction, fusion_dropout=0.0), PairCollator(make_tiny_processor())
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    arguments = TrainingArguments(
        str(tmp_path),
        num_train_epochs=15,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=8,
        dataloader_drop_last=True,
        remove_unused_columns=False,  # the collator reads them
        logging_steps=2,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, data_collator=collator, train_dataset=pairs, eval_dataset=pairs)
    before = trainer.evaluate()["eval_loss"]
    with torch.no_grad():
        assert before == pytest.approx(model.eval()(**collator(list(pairs))).loss.item(), rel=1e-5)
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before
    moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, start[name])}
    assert "backbone.visual_projection.weight" in moved and "coarse_projection.weight" in moved

    trainer.save_model(tmp_path / "saved")
    saved = TCDModel.from_pretrained(tmp_path / "saved").state_dict()
    assert all(torch.equal(saved[name], weight) for name, weight in model.state_dict().items())
