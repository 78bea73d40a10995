"""How a checkpoint's search score is fitted on generated collections: `python -m scripts.search_calibration.fit`."""
