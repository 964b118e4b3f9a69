"""What a picture goes through after resizing: augmentation, and the scale that CLIP was trained in."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from training.config import AugmentConfig

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def augment(image: Image.Image, config: AugmentConfig, draws: np.random.Generator) -> Tensor:
    """Flip, pad and crop, normalise, erase: a picture of H×W pixels to a tensor [3, H, W]."""
    if draws.random() < config.flip:
        image = ImageOps.mirror(image)
    left, top = (int(shift) for shift in draws.integers(-config.pad_px, config.pad_px + 1, 2))
    # Outside the picture a crop is black: pad and crop in one.
    pixels = normalise(image.crop((left, top, left + image.width, top + image.height)))
    if draws.random() < config.erase:
        _erase(pixels, config, draws)
    return pixels


def normalise(image: Image.Image) -> Tensor:
    """A picture to a tensor [3, H, W] in the scale that CLIP was trained in."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]


def _erase(pixels: Tensor, config: AugmentConfig, draws: np.random.Generator) -> None:
    """Fill a random rectangle, in place; ten draws to find one that fits."""
    height, width = pixels.shape[1:]
    fill = torch.tensor(CLIP_MEAN if config.erase_value == "released" else (0.0, 0.0, 0.0))
    for _ in range(10):
        area = draws.uniform(*config.erase_area) * height * width
        ratio = np.exp(draws.uniform(*np.log(config.erase_ratio)))
        h, w = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if h < height and w < width:
            top, left = draws.integers(height - h + 1), draws.integers(width - w + 1)
            pixels[:, top : top + h, left : left + w] = fill[:, None, None]
            return
