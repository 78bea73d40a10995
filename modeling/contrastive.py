"""Symmetric InfoNCE whose candidates come from every process (TCD section 7)."""

import torch
import torch.distributed as dist
from torch import nn

__all__ = ["ContrastiveLoss", "gather_with_gradient"]


class ContrastiveLoss(nn.Module):
    """
    Cross entropy of each text over all videos, and of each video over all texts, averaged.

    Requirements:
        Text `i` describes video `i`; every other pair of the batch is a negative.

    Inputs:
        Logits `(batch_size, batch_size)`, texts in rows.

    Relations:
        CLIP's loss. Unlike the sigmoid loss of SigLIP it does not depend on a bias added to all logits.
    """

    def forward(self, logits_per_text: torch.Tensor) -> torch.Tensor:
        """Returns the loss, a scalar of the logits' dtype."""
        num_texts, num_videos = logits_per_text.shape
        if num_texts != num_videos:
            raise ValueError(
                f"The contrastive loss needs one text per video, text i describing video i; got {num_texts} texts and "
                f"{num_videos} videos. For retrieval over unpaired texts and videos leave `return_loss` off."
            )
        labels = torch.arange(num_texts, device=logits_per_text.device)
        text_to_video = nn.functional.cross_entropy(logits_per_text, labels)
        video_to_text = nn.functional.cross_entropy(logits_per_text.T, labels)
        return (text_to_video + video_to_text) / 2


class _AllGather(torch.autograd.Function):
    """All-gather along the first dimension whose backward hands every process the gradient of its own slice."""

    @staticmethod
    def forward(ctx, tensor):
        ctx.batch_size = tensor.shape[0]
        gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, tensor.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx, grad):
        # Every process computed the whole loss. The sum over processes is undone by the mean that DDP takes over them.
        grad = grad.clone(memory_format=torch.contiguous_format)  # the incoming one may belong to others too
        dist.all_reduce(grad)
        start = dist.get_rank() * ctx.batch_size
        return grad[start : start + ctx.batch_size]


def world() -> tuple[int, int]:
    """This process's rank, and the number of processes: `(0, 1)` outside a process group."""
    if not dist.is_available() or not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """
    Rows of all processes, in order of rank, with gradient to each process's own rows. The tensor itself where there is
    one process.

    Args:
        tensor (`torch.Tensor` of shape `(batch_size, ...)`): the same shape on every process.

    Returns:
        `torch.Tensor` of shape `(world_size * batch_size, ...)`.
    """
    if world()[1] == 1:
        return tensor
    if not tensor.is_floating_point():  # masks: nothing to differentiate, and not every backend takes bool
        return _AllGather.apply(tensor.to(torch.uint8)).to(tensor.dtype)
    return _AllGather.apply(tensor)


def check_even_batches(num_texts: int, num_videos: int, device: torch.device) -> None:
    """Raises `ValueError` on every process when their batches differ in size, before a collective could hang on it."""
    if world()[1] == 1:
        return
    size = torch.tensor([num_texts, num_videos], device=device)
    sizes = [torch.empty_like(size) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, size)
    sizes = [tuple(each.tolist()) for each in sizes]
    if len(set(sizes)) > 1:
        raise ValueError(
            "Every process must bring the same number of pairs to the contrastive loss; got, as texts and videos of "
            f"each, {sizes}. Use `drop_last=True`, or the even batches that accelerate makes by default."
        )
