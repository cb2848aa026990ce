"""Small data sets on disk, for the tests of their readers."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sweeper.errors import DataError

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pixels(n_images: int, side: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_images, side, side, 3), dtype=np.uint8)


def encode(array: np.ndarray, image_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, image_format, **options)
    return stream.getvalue()


def write_parquet(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[int | None],
    *,
    column: str = "img",
    plain: bool = False,
    label_type: pa.DataType | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """A file as hubs publish it; ``plain``: the images as a binary column, not within a struct."""
    rows = images if plain else [None if image is None else {"bytes": image, "path": "x.png"} for image in images]
    table = pa.table({column: pa.array(rows, pa.binary() if plain else IMAGE_TYPE), "label": pa.array(labels, label_type or pa.int64())})
    pq.write_table(table.replace_schema_metadata(metadata), path)


def refusal(call: Callable[[], object]) -> str:
    """The message of the ``DataError`` that the call must end in."""
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)
