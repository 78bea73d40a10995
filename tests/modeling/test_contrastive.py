"""Symmetric InfoNCE, against numbers worked out by hand. Several processes: test_distributed.py."""

import math

import pytest
import torch

from tcd_hf.modeling.contrastive import ContrastiveLoss, check_even_batches, gather_with_gradient


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_a_model_that_knows_nothing_loses_the_log_of_the_batch(batch_size):
    loss = ContrastiveLoss()(torch.zeros(batch_size, batch_size))
    assert loss.item() == pytest.approx(math.log(batch_size))


def test_two_pairs_by_hand():
    # Logits [[2, 1], [0, 3]]. A cross entropy over two is log(1 + exp(wrong - right)).
    # Texts over videos: wrong - right is 1 - 2 and 0 - 3. Videos over texts: 0 - 2 and 1 - 3.
    def softplus(x):
        return math.log1p(math.exp(x))

    expected = ((softplus(-1) + softplus(-3)) / 2 + (softplus(-2) + softplus(-2)) / 2) / 2
    assert ContrastiveLoss()(torch.tensor([[2.0, 1.0], [0.0, 3.0]])).item() == pytest.approx(expected, rel=1e-6)


def test_certainty_costs_nothing_and_the_wrong_certainty_all_of_it():
    assert ContrastiveLoss()(100.0 * torch.eye(3)).item() == pytest.approx(0.0, abs=1e-6)
    assert ContrastiveLoss()(100.0 * torch.eye(2).flip(0)).item() == pytest.approx(100.0)


def test_a_bias_on_all_logits_changes_nothing():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ContrastiveLoss()(logits + 5.0), ContrastiveLoss()(logits))


def test_texts_and_videos_come_in_pairs():
    with pytest.raises(ValueError, match=r"got 2 texts and 3 videos.*return_loss"):
        ContrastiveLoss()(torch.zeros(2, 3))


def test_one_process_gathers_nothing():
    tensor = torch.ones(2, 3)
    assert gather_with_gradient(tensor) is tensor
    check_even_batches(2, 3, tensor.device)
