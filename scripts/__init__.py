"""What is run from a checkout, from its root: `python -m scripts.benchmarks.scoring`. It is not installed."""
