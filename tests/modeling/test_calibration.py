"""The calibrating loss of tcd section 3, against numbers worked out by hand and a loop over frames."""

import math

import pytest
import torch

from tcd_hf.modeling.calibration import CalibrationLoss

COLD = 0.01  # soft nearest neighbours are hard for all that float32 can tell


def one_hot_video(length: int) -> torch.Tensor:
    return torch.eye(length)[None]


def all_visible(embeds: torch.Tensor) -> torch.Tensor:
    return torch.ones(embeds.shape[:2], dtype=torch.bool)


def cycle_error_by_hand(start, middle, start_mask, middle_mask, temperature) -> float:
    """Mean squared distance of the cycle start -> middle -> start of one video, one place at a time."""

    def softmax(logits, mask):
        exponentials = [math.exp(logit) if visible else 0.0 for logit, visible in zip(logits, mask, strict=True)]
        return [each / sum(exponentials) for each in exponentials]

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    errors = []
    for i, place in enumerate(start):
        if not start_mask[i]:
            continue
        there = softmax([cosine(place, other) / temperature for other in middle], middle_mask)
        nearest = [sum(a * other[d] for a, other in zip(there, middle, strict=True)) for d in range(len(place))]
        back = softmax([cosine(nearest, other) / temperature for other in start], start_mask)
        landing = sum(b * k for k, b in enumerate(back))
        errors.append((i - landing) ** 2)
    return sum(errors) / len(errors)


def loss_by_hand(frames, windows, mask, temperature) -> float:
    per_video = []
    for frame_embeds, ocr_embeds, visible in zip(frames.tolist(), windows.tolist(), mask.tolist(), strict=True):
        if sum(visible) >= 2:
            always = [True] * len(visible)
            forth = cycle_error_by_hand(frame_embeds, ocr_embeds, always, visible, temperature)
            back = cycle_error_by_hand(ocr_embeds, frame_embeds, visible, always, temperature)
            per_video.append((forth + back) / 2)
    return sum(per_video) / max(len(per_video), 1)


def test_aligned_sequences_cost_nothing():
    video = one_hot_video(4)
    assert CalibrationLoss()(video, video, all_visible(video), COLD).item() == pytest.approx(0.0, abs=1e-6)


def test_order_alone_costs_nothing_because_the_cycle_returns():
    # Windows in reverse order: frame i meets window 3 - i, and that one meets frame i again.
    video = one_hot_video(4)
    assert CalibrationLoss()(video, video.flip(1), all_visible(video), COLD).item() == pytest.approx(0.0, abs=1e-6)


def test_ambiguous_windows_cost_their_squared_distance():
    # Two frames, two windows that both hold what frame 0 shows. Frame 0: both windows are as near, the way back leads
    # to frame 0, error 0. Frame 1 lands on frame 0, error 1. Mean 1/2. Window 0 goes to frame 0 and back to either
    # window, so lands on 0.5: error 1/4; so does window 1. Mean 1/4. Both directions: (1/2 + 1/4) / 2.
    frames = torch.eye(2)[None]
    windows = frames[:, [0, 0]]
    loss = CalibrationLoss()(frames, windows, all_visible(frames), COLD)
    assert loss.item() == pytest.approx(0.375, abs=1e-5)


def test_constant_sequences_land_in_the_middle():
    # All places alike: every cycle lands on the mean place 1.5, so the errors are 2.25, 0.25, 0.25, 2.25.
    constant = torch.ones(1, 4, 3)
    assert CalibrationLoss()(constant, constant, all_visible(constant), 0.1).item() == pytest.approx(1.25)


def test_soft_neighbours_by_hand():
    # Two frames and windows, one-hot, temperature 1. To the windows: weights p = e / (e + 1) and q = 1 - p. The
    # soft window (p, q) has cosines p / n and q / n with the frames, n = sqrt(p^2 + q^2). Frame 0 lands on the weight
    # of frame 1, e^(q/n) / (e^(p/n) + e^(q/n)), and misses by as much; frame 1 by symmetry too, and so do the windows.
    p = math.e / (math.e + 1)
    q = 1 - p
    n = math.hypot(p, q)
    miss = math.exp(q / n) / (math.exp(p / n) + math.exp(q / n))
    video = one_hot_video(2)
    assert CalibrationLoss()(video, video, all_visible(video), 1.0).item() == pytest.approx(miss**2, rel=1e-5)


def test_equals_a_loop_over_places():
    generator = torch.Generator().manual_seed(0)
    normalize = torch.nn.functional.normalize
    frames = normalize(torch.randn(5, 4, 3, generator=generator), dim=-1)
    windows = normalize(torch.randn(5, 4, 3, generator=generator), dim=-1)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]).bool()
    loss = CalibrationLoss()(frames, windows, mask, 0.3)
    assert loss.item() == pytest.approx(loss_by_hand(frames, windows, mask, 0.3), rel=1e-4)
    torch.testing.assert_close(
        CalibrationLoss()(2 * frames, 3 * windows, mask, 0.3), loss
    )  # cosines: lengths are nothing


@pytest.mark.parametrize("mask", [[0, 0, 0], [0, 1, 0]], ids=["no text", "one window"])
def test_a_video_with_less_than_two_windows_of_text_adds_nothing(mask):
    generator = torch.Generator().manual_seed(0)
    frames, windows = torch.randn(2, 3, 4, generator=generator), torch.randn(2, 3, 4, generator=generator)
    alone = CalibrationLoss()(frames[:1], windows[:1], torch.ones(1, 3, dtype=torch.bool), 0.1)
    frames.requires_grad_()
    windows.requires_grad_()
    loss = CalibrationLoss()(frames, windows, torch.tensor([[1, 1, 1], mask]).bool(), 0.1)
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert frames.grad[0].abs().sum() > 0
    assert frames.grad[1].abs().sum() == 0
    assert windows.grad[1].abs().sum() == 0


def test_a_batch_without_text_costs_nothing_and_has_a_zero_gradient():
    frames = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = CalibrationLoss()(frames, frames.detach().flip(1), torch.zeros(2, 3, dtype=torch.bool), 0.1)
    loss.backward()
    assert loss.item() == 0.0
    assert frames.grad.abs().sum() == 0


def test_what_masked_windows_hold_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    frames, windows = torch.randn(1, 4, 3, generator=generator), torch.randn(1, 4, 3, generator=generator)
    mask = torch.tensor([[True, True, False, True]])
    before = CalibrationLoss()(frames, windows, mask, 0.1)
    windows[:, 2] = 100.0
    torch.testing.assert_close(CalibrationLoss()(frames, windows, mask, 0.1), before)


def test_training_on_it_lowers_it():
    generator = torch.Generator().manual_seed(0)
    frames, windows = torch.randn(2, 4, 8, generator=generator), torch.randn(2, 4, 8, generator=generator)
    frames.requires_grad_()
    optimizer = torch.optim.Adam([frames], lr=0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = CalibrationLoss()(frames, windows, all_visible(frames), 0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_half_precision_gives_a_float32_loss():
    video = one_hot_video(4)
    assert CalibrationLoss()(video.bfloat16(), video.bfloat16(), all_visible(video), 0.1).dtype == torch.float32


class TestTemperature:
    """Features of assumed CLIP-like statistics: cosines of frames .85, of frames and windows .4, spread .03."""

    def cases(self):
        """Frames; and windows that show what their frames do, windows that show something else, windows all alike."""
        generator = torch.Generator().manual_seed(0)
        units = torch.linalg.qr(torch.randn(512, 14, generator=generator))[0].T  # orthogonal
        video, text, moments = units[0], units[1], units[2:]
        others = torch.nn.functional.normalize(torch.randn(12, 12, generator=generator), dim=-1) @ moments
        about = 0.45 * video + (1 - 0.45**2) ** 0.5 * text
        frames = 0.85**0.5 * video + 0.15**0.5 * moments
        alike = torch.zeros_like(moments)
        return [frames[None], *((0.96 * about + 0.28 * each)[None] for each in (moments, others, alike))]

    def test_what_is_assumed(self):
        frames, aligned, unaligned, _ = (each[0] for each in self.cases())
        apart = ~torch.eye(12, dtype=torch.bool)
        assert (frames @ frames.T)[apart].mean() == pytest.approx(0.85, abs=0.01)
        for windows in (aligned, unaligned):
            cosines = frames @ windows.T
            assert cosines.mean() == pytest.approx(0.4, abs=0.02) and cosines.std() == pytest.approx(0.03, abs=0.003)

    def test_the_three_stand_apart_only_where_it_follows_that_spread(self):
        frames, *cases = self.cases()
        mask = all_visible(frames)
        uniform = sum((place - 5.5) ** 2 for place in range(12)) / 12  # 11.92: all land in the middle
        wide, narrow = (
            [CalibrationLoss()(frames, windows, mask, temperature).item() for windows in cases]
            for temperature in (0.1, 0.01)
        )
        assert wide == pytest.approx([uniform] * 3, abs=0.4)
        aligned, unaligned, alike = narrow
        assert aligned < 0.1 and 1 < unaligned < 10 and alike == pytest.approx(uniform, abs=0.1)

    def test_only_there_it_can_learn(self):
        frames, _, unaligned, _ = self.cases()
        norms = []
        for temperature in (0.1, 0.01):
            windows = unaligned.clone().requires_grad_()
            CalibrationLoss()(frames, windows, all_visible(frames), temperature).backward()
            norms.append(windows.grad.norm().item())
        assert norms[1] > 10 * norms[0] > 0

    def test_the_model_takes_that_of_its_logits(self, make_model):
        model = make_model()
        assert model.calibration_temperature.item() == pytest.approx(math.exp(-model.logit_scale.item()))
        assert not model.calibration_temperature.requires_grad
        assert make_model(calibration_temperature=0.2).calibration_temperature.item() == pytest.approx(0.2)
