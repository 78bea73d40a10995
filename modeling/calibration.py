"""Heterogeneous semantics calibrating (HSC): frames and windows agree on time (TCD section 3)."""

import torch
from torch import nn

__all__ = ["CalibrationLoss"]


class CalibrationLoss(nn.Module):
    """
    The loss goes from frame `i` to its nearest window in meaning, and back to the nearest frame: it is the squared
    distance between where one started and where one landed, in frames. Nearest neighbours are soft, so that gradients
    flow (ours, after temporal cycle-consistency learning); the cycle that starts from windows is averaged in (ours).

    Requirements:
        A video needs two windows with text or more, and two frames; others add nothing, and the mean is over the
        videos that count. A batch without any such video gives 0, with gradient 0.

    Inputs:
        Embeddings of frames and of windows `(batch_size, num_frames, dim)`, mask of windows with text `(batch_size,
        num_frames)`, and

        frame_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`, *optional*): frames that count, at least one
            in each row; all by default.
        temperature (`float` or `torch.Tensor`): of the soft nearest neighbours. Towards 0 they become hard. It must be
            about the spread of the cosines within a video: where it is far above, all neighbours are equally near, and
            the loss is that of a uniform landing, whatever the embeddings, with hardly a gradient.
    """

    def forward(
        self,
        frame_embeds: torch.Tensor,
        ocr_embeds: torch.Tensor,
        ocr_mask: torch.Tensor,
        temperature: float | torch.Tensor,
        frame_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns the loss, a float32 scalar."""
        frames = nn.functional.normalize(frame_embeds.float(), dim=-1)
        windows = nn.functional.normalize(ocr_embeds.float(), dim=-1)
        frame_mask = torch.ones_like(ocr_mask) if frame_mask is None else frame_mask
        has_cycle = (ocr_mask.sum(dim=-1) >= 2) & (frame_mask.sum(dim=-1) >= 2)  # (batch_size,)
        # A video that does not count still runs, over all its windows, so that no row of a softmax is empty.
        mask = ocr_mask | ~has_cycle[:, None]
        from_frames = self.cycle_error(frames, windows, frame_mask, mask, temperature)
        from_windows = self.cycle_error(windows, frames, mask, frame_mask, temperature)
        per_video = (from_frames + from_windows) / 2
        return (per_video * has_cycle).sum() / has_cycle.sum().clamp(min=1)

    def cycle_error(self, start, middle, start_mask, middle_mask, temperature):
        """Mean squared distance, in steps, of the cycle start -> middle -> start. Returns `(batch_size,)`."""
        nearest = self._soft_neighbours(start, middle, middle_mask, temperature) @ middle
        landing = self._soft_neighbours(nn.functional.normalize(nearest, dim=-1), start, start_mask, temperature)
        steps = torch.arange(start.shape[1], device=start.device, dtype=start.dtype)
        error = (steps - landing @ steps).square() * start_mask
        return error.sum(dim=-1) / start_mask.sum(dim=-1)

    def _soft_neighbours(self, queries, keys, key_mask, temperature):
        logits = queries @ keys.transpose(-1, -2) / temperature
        return logits.masked_fill(~key_mask[:, None, :], -torch.inf).softmax(dim=-1)
