"""The compiled kernel that copies blocks of images from a data set, cropped, flipped and normalised."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from sweeper.training.augment import PADDING
from sweeper.training.cpu.jit import LANES, Bytes, Floats, compiled

# Numba asks of every signed index whether it counts from the end, which costs a quarter of the time here; of unsigned ones it does not.
# A sum of a signed and an unsigned integer would be a float, so these are unsigned too.
U = np.uint64
ONE, TWO, GREEN, BLUE = U(1), U(2), U(256), U(512)


@cache
def compile_cut() -> Callable[..., None]:
    """The kernel:

    ``(start, stop, height, width, pixels, index, corners, mirrored, levels, out)`` takes the images ``index`` out of ``pixels`` [image,
    height, width, 3], each within a border of black at its corner (row, column), mirrored or not, and normalised by ``levels`` [3, 256].
    """

    def cut(
        start: int,
        stop: int,
        height: int,
        width: int,
        pixels: Bytes,
        index: npt.NDArray[np.int64],
        corners: npt.NDArray[np.int64],
        mirrored: npt.NDArray[np.bool_],
        levels: Floats,
        out: Floats,
    ) -> None:
        row = width * LANES
        plane, two_planes = U(height * row), U(2 * height * row)
        black = levels[0], levels[256], levels[512]
        for block in range(start, stop):
            for y in range(height):
                for lane in range(LANES):  # row by row, since a row of all lanes fits into the first cache
                    image = block * LANES + lane
                    corner, step = (block * 3 * height + y) * row + lane, LANES
                    if image >= len(index):
                        for x in range(width):
                            to = U(corner + x * step)
                            out[to] = out[to + plane] = out[to + two_planes] = 0
                        continue
                    if mirrored[image]:
                        corner, step = corner + row - LANES, -LANES
                    source_y, source_x = y + corners[image, 0] - PADDING, corners[image, 1] - PADDING
                    source = ((index[image] * height + source_y) * width + source_x) * 3
                    first, last = max(0, -source_x), min(width, width - source_x)
                    if not 0 <= source_y < height:
                        first, last = width, width
                    for x in range(first):
                        to = U(corner + x * step)
                        out[to], out[to + plane], out[to + two_planes] = black
                    for x in range(first, last):
                        to, pixel = U(corner + x * step), U(source + 3 * x)
                        out[to] = levels[U(pixels[pixel])]
                        out[to + plane] = levels[GREEN + U(pixels[pixel + ONE])]
                        out[to + two_planes] = levels[BLUE + U(pixels[pixel + TWO])]
                    for x in range(last, width):
                        to = U(corner + x * step)
                        out[to], out[to + plane], out[to + two_planes] = black

    return compiled(cut, "void(i8, i8, i8, i8, u1[::1], i8[::1], i8[:, ::1], b1[::1], f4[::1], f4[::1])")
