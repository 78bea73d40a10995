"""What each part of TCD brings on the synthetic world: `python -m scripts.ablation`."""
