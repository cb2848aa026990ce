"""Decodes images with Pillow into one array of pixels; all must have one size, and the error names one that has not."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from sweeper.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What may be decoded. Pillow knows more, but some of those start other programs (EPS: Ghostscript)."""

MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
"""What converts to 8-bit RGB without loss of range; images of 16 bits a channel would be clipped."""

MAX_SIDE = 4096
MAX_BYTES = 16 * 2**30
CHUNK = 250
# Threads pay from here on (224×224: 516 µs an image with one, 184 µs with two); below, taking turns at the interpreter lock costs more
# than it gains (32×32: 68 µs with one thread, 104 µs with two).
PIXELS_WORTH_A_THREAD = 128 * 128


def decode_images(
    n_images: int,
    read: Callable[[int], bytes],
    place: Callable[[int], str],
    *,
    image_size: int | None,
    progress: Callable[[int], None],
    glance: bool = False,
) -> UInt8[np.ndarray, "n h w 3"]:
    """Pixels of ``n_images`` >= 1 images in RGB; grey, palette, CMYK and transparent ones are converted (transparency is dropped).

    ``read(i)`` gives image i encoded, ``place(i)`` says where it lies, for errors. With ``image_size`` every image is resized to a
    square of that side (bilinear); without, all must have the size of the first. ``progress`` gets the number of images done.
    ``glance``: only the first is read, and used for all.

    Raises:
        DataError: an image that cannot be decoded, has 16 bits a channel, an odd size, or more pixels than a data set may hold.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about images it decodes all the same; what is too large is refused here
        first = _open(read(0), place(0))
        width, height = first.size if image_size is None else (image_size, image_size)
        if glance:
            return np.broadcast_to(_pixels(first, place(0), (width, height)), (n_images, height, width, 3))
        images = _room(n_images, height, width, place(0))

        def fill(start: int) -> int:
            stop = min(start + CHUNK, n_images)
            for index in range(start, stop):
                image = _open(read(index), place(index))
                if image_size is None and image.size != first.size:
                    raise DataError(
                        f"{place(index)}: is {_size(image)} pixels, but {place(0)} is {_size(first)}; all images must have one size: set "
                        "dataset.image_size (for example 32) to have them resized"
                    )
                images[index] = _pixels(image, place(index), (width, height))
            return stop - start

        n_threads = min(8, os.cpu_count() or 1) if first.width * first.height >= PIXELS_WORTH_A_THREAD else 1
        n_done = 0
        with ThreadPoolExecutor(n_threads) as pool:
            try:
                for n_filled in pool.map(fill, range(0, n_images, CHUNK)):
                    n_done += n_filled
                    progress(n_done)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return images


def _open(encoded: bytes, place: str) -> Image.Image:
    """An image of which only the header is read yet."""
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except UnidentifiedImageError:
        raise DataError(
            f"{place}: must be an image ({', '.join(FORMATS)}), got {len(encoded)} bytes that begin with {encoded[:8]!r}"
        ) from None
    except Exception as error:
        raise _undecodable(place, error) from error
    if max(image.size) > MAX_SIDE:
        raise DataError(f"{place}: must have at most {MAX_SIDE}×{MAX_SIDE} pixels, got {_size(image)}")
    if image.mode not in MODES:
        raise DataError(f"{place}: must have 8 bits a channel, got an image of Pillow's mode {image.mode}; convert it to 8-bit RGB")
    return image


def _pixels(image: Image.Image, place: str, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    try:
        colour = image if image.mode == "RGB" else image.convert("RGB")
        sized = colour if colour.size == size else colour.resize(size, Image.Resampling.BILINEAR)
        return np.frombuffer(sized.tobytes(), dtype=np.uint8).reshape(size[1], size[0], 3)  # 14 µs quicker than np.asarray
    except Exception as error:
        raise _undecodable(place, error) from error


def _undecodable(place: str, error: Exception) -> DataError:
    """What Pillow says of damaged bytes, which can be an exception of nearly any type."""
    return DataError(f"{place}: cannot be decoded: {error or type(error).__name__}; replace the image or leave it out")


def _room(n_images: int, height: int, width: int, place: str) -> UInt8[np.ndarray, "n h w 3"]:
    n_bytes = n_images * height * width * 3
    try:
        if n_bytes > MAX_BYTES:
            raise MemoryError
        return np.empty((n_images, height, width, 3), dtype=np.uint8)
    except MemoryError:
        raise DataError(
            f"{place}: {n_images} images of {width}×{height} pixels take {n_bytes / 2**30:.1f} GiB, more than memory or the limit of "
            f"{MAX_BYTES // 2**30} GiB for a data set allows; set dataset.image_size (for example 32) to have them resized"
        ) from None


def _size(image: Image.Image) -> str:
    return f"{image.width}×{image.height}"
