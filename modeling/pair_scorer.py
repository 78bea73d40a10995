"""What scores a block of pairs: the interface that [`pair_scores`] and [`candidate_scores`] work with."""

import torch

from .outputs import TCDVideoFeatures

__all__ = ["PairScorer"]


class PairScorer:
    """
    Scores given texts with blocks of videos. What depends on the texts and the weights alone is computed when it is
    made, once for all blocks.

    Args:
        model ([`TCDModel`]): gives the weights and their configuration.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, dim)`): L2-normalised.
    """

    # Elements that the largest tensor of a block of pairs may have.
    block_elements = 2**22

    def __init__(self, model, text_embeds: torch.Tensor):
        self.config = model.config
        self.text = text_embeds.float()  # similarities are computed in float32 whatever the model's dtype

    def prepare(self, videos: TCDVideoFeatures) -> TCDVideoFeatures:
        """The videos as a call takes them, in float32: once, however many texts they meet."""
        return videos.map_videos(lambda rows: rows.float() if rows.is_floating_point() else rows)

    def pair_elements(self, videos: TCDVideoFeatures) -> int:
        """Elements of one pair in the largest tensor of pairs."""
        raise NotImplementedError

    def __call__(self, texts: slice, videos: TCDVideoFeatures) -> dict[str, torch.Tensor]:
        """Scores some texts with some videos.

        Args:
            texts (`slice`): which of the texts.
            videos ([`TCDVideoFeatures`]): `num_videos` videos as [`~PairScorer.prepare`] gives them.

        Returns:
            `dict` of the parts of [`TCDScores`], each of shape `(num_texts, num_videos)`.
        """
        raise NotImplementedError
