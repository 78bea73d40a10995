"""
The gradient of a contrastive loss over a batch that does not fit the device, nor one process.

Every pair of a contrastive batch is a negative of every other, so gradients of its parts do not add up to its own. But
the loss sees the towers only through the embeddings, and those are small (GradCache, arXiv 2101.06983):

1. the towers embed the batch chunk by chunk, without gradient, each process its own share;
2. everything after the towers runs once, on the embeddings of the whole batch, and gives the gradient of each of them;
3. the towers embed each chunk again, now with gradient, and that of its embeddings is pushed through.

Fusion and losses are cheap beside the towers, so every process computes them for the whole batch, with the same random
numbers. So all know the same loss, and the gradient of the own embeddings, without further exchange.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator

from tcd_hf.modeling.contrastive import gather_with_gradient
from tcd_hf.modeling.outputs import TCDOutput

if TYPE_CHECKING:
    from tcd_hf.modeling.modeling_tcd import TCDModel

__all__ = ["backward_of_batch", "embed_pairs", "seed_step"]

OF_TEXTS = ("input_ids", "attention_mask")
OF_TOWERS = ("pixel_values_videos", "ocr_input_ids", "ocr_attention_mask", "pixel_attention_mask", "spatial_shapes")
OF_FUSION = ("frame_embeds", "frame_norms", "ocr_embeds", "patch_embeds")

Embeds = dict[str, torch.Tensor]


def embed_pairs(model: "TCDModel", chunk: dict, accelerator: Accelerator) -> Embeds:
    """
    What the losses see of some pairs: `text_embeds` `(batch_size, dim)`, and the arguments of [`TCDModel.fuse`], as far
    as the model has them.

    Args:
        model ([`TCDModel`])
        chunk (`dict`): inputs of the model, on any device.
        accelerator (`Accelerator`): gives the device, and the precision of the towers. Embeddings are float32.
    """
    chunk = {
        name: value.to(accelerator.device, non_blocking=True) for name, value in chunk.items() if torch.is_tensor(value)
    }
    with accelerator.autocast():
        text_embeds = model.get_text_features(**_named(chunk, OF_TEXTS)).pooler_output
        videos = model.encode_videos(**_named(chunk, OF_TOWERS))
    embeds = {"text_embeds": text_embeds, **_named(videos, OF_FUSION)}
    embeds = {name: value.float() for name, value in embeds.items()}
    masks = ("frame_mask", "ocr_mask") if "ocr_embeds" in embeds else ("frame_mask",)
    return {**embeds, **_named(chunk, masks)}


def backward_of_batch(
    model: "TCDModel", chunks: Sequence[dict], accelerator: Accelerator, seed: Callable[[int | None], None]
) -> TCDOutput:
    """
    The loss of the batch that the chunks of all processes make up, and its gradients, added to those of the weights.

    Args:
        model ([`TCDModel`]): the same in all processes, not wrapped: gradients are averaged here. Its weights must be
            whole in every process, as they are not under FSDP.
        chunks (`list[dict]`): inputs of the model, of this process's share of the batch; shares are of equal size.
        accelerator (`Accelerator`)
        seed (`Callable`): [`seed_step`] of this step. It is given the place in the batch of the first pair that goes
            through the towers next, or `None` for what follows them.

    Returns:
        [`TCDOutput`] with the losses, detached; equal in all processes.
    """
    sizes = [len(chunk["input_ids"]) for chunk in chunks]
    first = accelerator.process_index * sum(sizes)
    starts = [first + sum(sizes[:index]) for index in range(len(chunks))]

    def embed(index: int) -> Embeds:
        seed(starts[index])
        return embed_pairs(model, chunks[index], accelerator)

    once = len(chunks) == 1  # then nothing is gained by embedding it twice
    with torch.set_grad_enabled(once):
        pieces = [embed(index) for index in range(len(chunks))]

    batch = _gather(pieces)
    seed(None)
    output = _losses(model, batch)
    output["loss"].backward()

    # Weights after the towers now have the gradient of the whole loss, in every process. Those of the towers are about
    # to get the part of it that goes through this process's own pairs; multiplied by the number of processes, so that
    # the mean over them, which leaves the former as they are, sums up the latter.
    for index, start in enumerate(starts):
        embeds = pieces[index] if once else embed(index)
        own = slice(start, start + sizes[index])
        # No mask, nothing that no loss reads, and nothing of a frozen tower.
        gradients = {
            name: whole.grad[own] * accelerator.num_processes
            for name, whole in batch.items()
            if whole.grad is not None and embeds[name].requires_grad
        }
        if not gradients:
            break  # other chunks would be embedded again for nothing, too
        torch.autograd.backward([embeds[name] for name in gradients], list(gradients.values()))
    if accelerator.num_processes > 1:
        for weight in model.parameters():
            if weight.grad is not None:
                mean: Any = accelerator.reduce(weight.grad, "mean")
                weight.grad = mean
    return TCDOutput(**{name: value.detach() for name, value in output.items() if name.endswith("loss")})


def seed_step(seed: int, step: int, pair: int | None = None) -> None:
    """
    Seeds torch's generators, on all devices. The state is a function of where a run is, never of how it came there: so
    the towers, which run twice, a resumed run and every process find the random numbers of a step by the step alone.

    Args:
        seed (`int`): of the run.
        step (`int`): from 0.
        pair (`int`, *optional*): for the towers, place in the batch of the first pair that they are about to encode;
            none for what follows the towers.
    """
    key = [seed, step, 0 if pair is None else 1 + pair]
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))


@torch.no_grad()
def _gather(pieces: list[Embeds]) -> Embeds:
    """Embeddings of the whole batch, as leaves of a graph of their own."""
    joined = {name: torch.cat([piece[name] for piece in pieces]).detach() for name in pieces[0]}
    batch = {name: gather_with_gradient(value) for name, value in joined.items()}
    return {name: value.requires_grad_(value.is_floating_point()) for name, value in batch.items()}


def _losses(model: "TCDModel", batch: Embeds) -> TCDOutput:
    batch = dict(batch)
    text_embeds = batch.pop("text_embeds")
    return model.compute_losses(text_embeds, model.fuse(**batch))


def _named(values, names: Sequence[str]) -> dict:
    return {name: values[name] for name in names if values.get(name) is not None}
