"""The three steps that made the checkpoint inside the package: text, image, fusion."""
