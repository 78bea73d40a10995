"""What the ablation and the training of tcd-mini share: towers run once, and what comes after them is trained."""
