"""A crop as a model takes it: sides and pixels within limits, upright, nothing said beside the pixels."""

import io
import math
from typing import Self

import numpy as np
from PIL import Image, ImageFile, ImageOps
from pydantic import Field, PositiveInt, model_validator

from pipeline.recipe import Section

LEAST_SIDE_PX = 28
"""Qwen2.5-VL servers crash on a picture with a smaller side."""
MOST_PIXELS = 50_000_000
"""A crop with more is none."""
_END_OF_IMAGE = b"\xff\xd9"
_TAGS = {"exif", "photoshop", "xmp", "icc_profile", "comment"}


class CropError(ValueError):
    """A person without a readable crop; one line."""


class FitSettings(Section):
    """How large a picture the model gets."""

    min_side_px: int = Field(default=LEAST_SIDE_PX, ge=LEAST_SIDE_PX)
    """Shorter pictures are enlarged; this comes before the limits on pixels."""
    min_pixels: PositiveInt = 28 * 28 * 16
    """Pictures with fewer are enlarged."""
    max_pixels: PositiveInt = 28 * 28 * 512
    """Pictures with more are reduced; Qwen2.5-VL makes a token of 28 × 28 pixels."""
    quality: int = Field(default=90, ge=1, le=100)
    """JPEG quality of what was resized."""

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Self:
        if self.max_pixels < max(self.min_pixels, self.min_side_px**2):
            raise ValueError("max_pixels is below min_pixels or the square of min_side_px")
        return self


def fit(jpeg: bytes, settings: FitSettings) -> bytes:
    """The same bytes if they are within the limits, of which only the header is read; else resized.

    A JPEG in RGB or grey; its shape is kept as far as the least side allows. Raises CropError if there is no
    picture in the bytes.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # process-wide, and other libraries set it
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG", "PNG", "WEBP")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise CropError(f"crop: {picture.width}×{picture.height} pixels")
            if _is_plain(picture, jpeg) and fitted_size(*picture.size, settings) == picture.size:
                return jpeg
            return _resized(picture, settings)
    except CropError:
        raise
    except Exception as error:  # broken pictures raise anything
        raise CropError(f"crop: {' '.join(f'{type(error).__name__}: {error}'.split())[:200]}") from None


def fitted_size(width: int, height: int, settings: FitSettings) -> tuple[int, int]:
    """Width and height in pixels within the limits; a picture within them keeps its own."""
    pixels = width * height
    scale = 1.0
    if pixels > settings.max_pixels:
        scale = math.sqrt(settings.max_pixels / pixels)
    elif pixels < settings.min_pixels:
        scale = math.sqrt(settings.min_pixels / pixels)
    scale = max(scale, settings.min_side_px / min(width, height))
    if scale == 1.0:
        return width, height
    # Rounded towards the limit that asked for it.
    nearest = math.floor if scale < 1 else math.ceil
    short = settings.min_side_px
    width, height = max(short, nearest(width * scale)), max(short, nearest(height * scale))
    # A strip whose shorter side grew to the limit may now be too long: then its shape is given up.
    if width >= height:
        return max(short, min(width, settings.max_pixels // height)), height
    return width, max(short, min(height, settings.max_pixels // width))


def _is_plain(picture: Image.Image, data: bytes) -> bool:
    """Whether the bytes can be sent as they are. Half a JPEG has no end, and its header does not say so."""
    return (
        picture.format == "JPEG"
        and picture.mode in ("L", "RGB")
        and not _TAGS & picture.info.keys()
        and data.rstrip(b"\0").endswith(_END_OF_IMAGE)
    )


def _resized(picture: Image.Image, settings: FitSettings) -> bytes:
    upright = ImageOps.exif_transpose(picture) if "exif" in picture.info else picture
    size = fitted_size(upright.width, upright.height, settings)
    if upright is picture:
        picture.draft("RGB", size)  # decodes at half the size or less where that is enough
    small = _scaled(upright.convert("RGB"), size)
    small.info.clear()  # Pillow would write comments again
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=settings.quality, subsampling=0)
    return sink.getvalue()


def _scaled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An RGB picture at another size, bicubic and antialiased: Pillow's pixels in half of Pillow's time."""
    if picture.size == size:
        return picture
    import torch  # seconds; whoever asks models has it loaded for the CLIP tokens

    # Batch first, then channels: else the strides tell nobody that channels lie last, and rows are copied.
    pixels = torch.from_numpy(np.array(picture)).unsqueeze(0).permute(0, 3, 1, 2)
    scaled = torch.nn.functional.interpolate(pixels, size=size[::-1], mode="bicubic", antialias=True)
    return Image.fromarray(scaled.squeeze(0).permute(1, 2, 0).numpy())
