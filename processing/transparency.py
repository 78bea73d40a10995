"""Pictures with transparent parts, put on a ground on which what they show can be seen."""

import numpy as np
from PIL import Image

__all__ = ["on_ground", "opaque_pixels"]

LIGHT = 128  # from this mean of what is opaque on, 0-255, the ground is black


def on_ground(pixels: np.ndarray) -> np.ndarray:
    """RGB uint8 `(height, width, 3)` of RGBA: on white, and on black where what is opaque is mostly light."""
    color, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(color)
    shares = alpha.astype(np.float32) / 255
    weight = float(shares.sum()) * 3
    is_light = weight > 0 and float((color * shares).sum()) / weight >= LIGHT
    ground = 0 if is_light else 255
    return np.rint(color * shares + ground * (1 - shares)).astype(np.uint8)


def opaque_pixels(image: Image.Image) -> np.ndarray:
    """An image as RGB uint8 `(height, width, 3)`, see [`on_ground`]."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return on_ground(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))
